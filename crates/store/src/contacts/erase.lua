-- Own ARGV: a contact, then digests of aliases that are known to be theirs.
-- Forgets the person. Answers how many keys that were. Who was merged into them goes on naming them:
-- the redirect holds two ids and expires.
local id = resolve(ARGV[OWN])
local gone = 0
local function forget(digest)
  if owner(digest) == id then gone = gone + redis.call('DEL', key('alias', digest)) end
end
for i = OWN + 1, #ARGV do forget(ARGV[i]) end
for _, digest in ipairs(redis.call('ZRANGE', key('aliases', id), 0, -1)) do forget(digest) end
for _, digest in ipairs(redis.call('HKEYS', key('emails', id))) do forget(digest) end
return gone + redis.call('DEL', key('person', id), key('aliases', id), key('emails', id), key('contact', id))
