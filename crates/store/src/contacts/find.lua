-- Own ARGV: how many ids are proposed, those; then the digests of the aliases, strongest first.
-- Answers {id, created, who lost an alias or ''}.
local proposals = tonumber(ARGV[OWN])
local first = OWN + proposals + 1
local found, recycled = false, false
for i = first, #ARGV do
  local held, freed = owner(ARGV[i])
  if held and freed then recycled = true elseif held and not found then found = held end
end
if not found then
  found = resolve(ARGV[OWN + 1])
  if recycled then
    -- The phone number has a new owner. An id that was derived from it is the former owner's.
    for i = OWN + 1, OWN + proposals do
      found = ARGV[i]
      if redis.call('EXISTS', key('person', found)) == 0 then break end
    end
    found = resolve(found)
  end
end
local created = 1 - redis.call('EXISTS', key('person', found))
local displaced = ''
for i = first, #ARGV do
  local lost = attach(found, ARGV[i], false)
  if lost and displaced == '' then displaced = lost end
end
touch(found)
return { found, created, displaced }
