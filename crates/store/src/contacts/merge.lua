-- Own ARGV: the contact to keep, the one to drop. Answers the contact that both are now.
local keep, drop = resolve(ARGV[OWN]), resolve(ARGV[OWN + 1])
if keep ~= drop then merge(keep, drop) end
touch(keep)
return keep
