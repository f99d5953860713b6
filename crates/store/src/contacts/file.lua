-- Own ARGV: a contact, then digests of aliases that are theirs.
-- Answers {id, who lost an alias or ''}.
local id = resolve(ARGV[OWN])
local displaced = ''
for i = OWN + 1, #ARGV do
  local lost = attach(id, ARGV[i], false)
  if lost and displaced == '' then displaced = lost end
end
touch(id)
return { id, displaced }
