-- Own ARGV: a contact, the address's digest, the address encrypted.
-- Answers {id, who lost it or ''}. The one who lost it still has it on record.
local id = resolve(ARGV[OWN])
local digest = ARGV[OWN + 1]
local held = owner(digest)
redis.call('SET', key('alias', digest), id, 'EX', kept)
keep_email(id, digest, string.format('%.0f', now) .. ' ' .. ARGV[OWN + 2])
touch(id)
return { id, held and held ~= id and held or '' }
