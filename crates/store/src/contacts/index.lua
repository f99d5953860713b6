-- Own ARGV: a contact, a conversation. Files the conversation under whom the contact is today.
local place = key('contact', resolve(ARGV[OWN]))
redis.call('ZADD', place, now, ARGV[OWN + 1])
redis.call('ZREMRANGEBYRANK', place, 0, -tonumber(ARGV[6]) - 1)
redis.call('EXPIRE', place, kept)
return 0
