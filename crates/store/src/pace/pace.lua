-- One decision: both buckets give, or neither.
-- KEYS: number, pair.
-- ARGV: now (ms, or empty: the server's clock), slack (ms), then for the number and for the pair each:
-- capacity, milliseconds a token, tokens that must stay.
-- Answers {milliseconds to wait, 0 when granted; 1 when the number is what is waited for}.
local slack = tonumber(ARGV[2])

local function bucket(key, first)
  local capacity, each, floor = tonumber(ARGV[first]), tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2])
  local known = redis.call('HMGET', key, 'level', 'at', 'held')
  local level = tonumber(known[1]) or capacity
  local held = tonumber(known[3]) or 0
  local at = tonumber(known[2]) or now
  -- A clock that went back (another server took over) must not stop the refill.
  at = math.min(at, math.max(now + slack, held))
  level = math.min(capacity, level + math.max(0, now - at) / each)
  at = math.max(at, now)
  local wait = math.max(0, held - now)
  local lacking = floor + 1 - level
  if lacking > 0 then wait = math.max(wait, math.ceil(at - now + lacking * each)) end
  return { key = key, level = level, at = at, capacity = capacity, each = each, wait = wait }
end

local function take(of)
  -- Refills slack later than it might: what is sent here in an even pace may arrive in a less even one.
  if of.level >= of.capacity then of.at = now + slack end
  of.level = of.level - 1
  redis.call('HSET', of.key, 'level', string.format('%.6f', of.level), 'at', string.format('%.0f', of.at))
  -- A full bucket needs no key.
  redis.call('PEXPIRE', of.key, math.ceil(of.at - now + (of.capacity - of.level) * of.each) + 1000)
end

local number, pair = bucket(KEYS[1], 3), bucket(KEYS[2], 6)
if number.wait == 0 and pair.wait == 0 then
  take(number)
  take(pair)
  return { 0, 0 }
end
if number.wait > pair.wait then return { number.wait, 1 } end
return { pair.wait, 0 }
