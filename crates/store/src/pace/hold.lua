-- Nothing goes for a while, and then at the sustained pace: the burst is used up, WhatsApp says.
-- KEYS: a bucket. ARGV: now (ms, or empty: the server's clock), milliseconds to hold, milliseconds
-- until the bucket is full again after that.
local known = redis.call('HMGET', KEYS[1], 'level', 'held')
-- Never shortens what another replica was told.
local held = math.max(tonumber(known[2]) or 0, now + tonumber(ARGV[2]))
local level = math.min(tonumber(known[1]) or 1, 1)
local until_held = string.format('%.0f', held)
redis.call('HSET', KEYS[1], 'level', string.format('%.6f', level), 'at', until_held, 'held', until_held)
redis.call('PEXPIRE', KEYS[1], math.ceil(held - now + tonumber(ARGV[3])) + 1000)
return 0
