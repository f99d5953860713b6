-- Own ARGV: a contact. Answers the keys of their conversations, the newest last.
return redis.call('ZRANGE', key('contact', resolve(ARGV[OWN])), 0, -1)
