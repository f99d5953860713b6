-- Own ARGV: an alias's digest. Answers the id, or nothing.
return owner(ARGV[OWN])
