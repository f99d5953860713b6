-- The contact directory, common to its scripts. Atomic because a server runs one script at a time;
-- the keys are found on the way, so it is for one server with replicas, not for a sharded cluster.
--
--   alias:<digest>   whose it is: the contact's id, with " freed" behind it once the person gave the
--                    phone number up (it still finds them, until somebody else writes from it)
--   person:<id>      redirect (merged into), first_seen, touched
--   aliases:<id>     sorted set of the digests that are theirs, by when they were last seen
--   emails:<id>      digest -> when, a space, the address encrypted
--   contact:<id>     sorted set of their conversations
--
-- ARGV: prefix, seconds to keep, now (ms, or empty: the server's clock), most aliases, most e-mail
-- addresses, most conversations; then the script's own.
local prefix, kept = ARGV[1], ARGV[2]
local now = tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local OWN = 7
local DAY = 24 * 3600 * 1000
-- Longer chains of merges than any that happens; a bound all the same.
local HOPS = 64

local function key(kind, id) return prefix .. ':' .. kind .. ':' .. id end

-- Whom a reference means today.
local function resolve(id)
  local at = id
  for _ = 1, HOPS do
    local further = redis.call('HGET', key('person', at), 'redirect')
    if not further then break end
    redis.call('EXPIRE', key('person', at), kept)
    at = further
  end
  if at ~= id then redis.call('HSET', key('person', id), 'redirect', at) end
  return at
end

-- Whose an alias is, or false; and whether they gave it up.
local function owner(digest)
  local value = redis.call('GET', key('alias', digest))
  if not value then return false, false end
  return resolve(string.sub(value, 1, 36)), string.sub(value, 37) == ' freed'
end

-- Files an alias under a person. Answers who lost it, or false. What they gave up stays given up
-- unless it is forced: messages arrive late.
local function attach(id, digest, forced)
  local held, freed = owner(digest)
  if held == id and freed and not forced then return false end
  redis.call('SET', key('alias', digest), id, 'EX', kept)
  redis.call('ZADD', key('aliases', id), now, digest)
  if not held or held == id then return false end
  redis.call('ZREM', key('aliases', held), digest)
  return not freed and held
end

-- Keeps everything of a person who is met again, once a day.
local function touch(id)
  local person = key('person', id)
  redis.call('HSETNX', person, 'first_seen', now)
  redis.call('ZREMRANGEBYRANK', key('aliases', id), 0, -tonumber(ARGV[4]) - 1)
  local touched = tonumber(redis.call('HGET', person, 'touched') or '0')
  if math.abs(now - touched) >= DAY then
    redis.call('HSET', person, 'touched', now)
    for _, digest in ipairs(redis.call('ZRANGE', key('aliases', id), 0, -1)) do
      redis.call('SET', key('alias', digest), id, 'EX', kept, 'NX')
      redis.call('EXPIRE', key('alias', digest), kept)
    end
    for _, digest in ipairs(redis.call('HKEYS', key('emails', id))) do
      redis.call('SET', key('alias', digest), id, 'EX', kept, 'NX')
      redis.call('EXPIRE', key('alias', digest), kept)
    end
    redis.call('EXPIRE', key('contact', id), kept)
  end
  for _, kind in ipairs({ 'person', 'aliases', 'emails' }) do redis.call('EXPIRE', key(kind, id), kept) end
end

-- Keeps the newest addresses.
local function keep_email(id, digest, value)
  local place = key('emails', id)
  local known = redis.call('HGET', place, digest)
  local stamp = function(of) return tonumber(string.match(of, '^%d+')) or 0 end
  if known and stamp(known) > stamp(value) then return end
  redis.call('HSET', place, digest, value)
  while redis.call('HLEN', place) > tonumber(ARGV[5]) do
    local all, oldest = redis.call('HGETALL', place), false
    for i = 1, #all, 2 do
      if not oldest or stamp(all[i + 1]) < stamp(all[oldest + 1]) then oldest = i end
    end
    redis.call('HDEL', place, all[oldest])
  end
end

-- Two that are one person. Everything of the second becomes the first's, and whoever asks for the
-- second finds the first.
local function merge(keep, drop)
  local aliases = redis.call('ZRANGE', key('aliases', drop), 0, -1, 'WITHSCORES')
  for i = 1, #aliases, 2 do
    local held = owner(aliases[i])
    if not held or held == drop then
      redis.call('SET', key('alias', aliases[i]), keep, 'EX', kept)
      redis.call('ZADD', key('aliases', keep), aliases[i + 1], aliases[i])
    end
  end
  local emails = redis.call('HGETALL', key('emails', drop))
  for i = 1, #emails, 2 do
    keep_email(keep, emails[i], emails[i + 1])
    local held = owner(emails[i])
    if not held or held == drop then redis.call('SET', key('alias', emails[i]), keep, 'EX', kept) end
  end
  local mine, theirs = key('contact', keep), key('contact', drop)
  if redis.call('EXISTS', theirs) == 1 then
    redis.call('ZUNIONSTORE', mine, 2, mine, theirs, 'AGGREGATE', 'MAX')
    redis.call('ZREMRANGEBYRANK', mine, 0, -tonumber(ARGV[6]) - 1)
    redis.call('EXPIRE', mine, kept)
  end
  local seen = tonumber(redis.call('HGET', key('person', drop), 'first_seen'))
  local known = tonumber(redis.call('HGET', key('person', keep), 'first_seen'))
  if seen and (not known or seen < known) then redis.call('HSET', key('person', keep), 'first_seen', seen) end
  redis.call('DEL', key('person', drop), key('aliases', drop), key('emails', drop), theirs)
  redis.call('HSET', key('person', drop), 'redirect', keep)
  redis.call('EXPIRE', key('person', drop), kept)
end

