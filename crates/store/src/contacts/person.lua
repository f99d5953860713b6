-- Own ARGV: a contact. Answers {id, when first seen or 0, e-mail digests and encrypted addresses}.
local id = resolve(ARGV[OWN])
local seen = redis.call('HGET', key('person', id), 'first_seen')
local emails = {}
local all = redis.call('HGETALL', key('emails', id))
for i = 1, #all, 2 do
  emails[#emails + 1] = all[i]
  emails[#emails + 1] = string.match(all[i + 1], ' (.*)$') or ''
end
return { id, seen or '0', emails }
