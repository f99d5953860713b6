-- Own ARGV: a contact; how many phone numbers no longer hold, those; how many user ids were theirs
-- and are, those; how many phone numbers hold, those. Digests all.
-- Answers {id, who was merged into it or '', who lost a phone number or ''}.
local id = resolve(ARGV[OWN])
local at = OWN
local function list()
  local all = {}
  local count = tonumber(ARGV[at + 1])
  for i = at + 2, at + 1 + count do all[#all + 1] = ARGV[i] end
  at = at + 1 + count
  return all
end
local gone, ids, phones = list(), list(), list()
local merged, displaced = '', ''
-- User ids are never given to another person: who has one of these is this person.
for _, digest in ipairs(ids) do
  local held = owner(digest)
  if held and held ~= id then
    merge(id, held)
    if merged == '' then merged = held end
  end
  attach(id, digest, true)
end
for _, digest in ipairs(gone) do
  local held = owner(digest)
  -- Its next owner may have written already.
  if not held or held == id then
    redis.call('SET', key('alias', digest), id .. ' freed', 'EX', kept)
    redis.call('ZREM', key('aliases', id), digest)
  end
end
for _, digest in ipairs(phones) do
  local lost = attach(id, digest, true)
  if lost and displaced == '' then displaced = lost end
end
touch(id)
return { id, merged, displaced }
