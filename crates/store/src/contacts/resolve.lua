-- Own ARGV: contacts. Answers whom each means today, in order.
local all = {}
for i = OWN, #ARGV do all[#all + 1] = resolve(ARGV[i]) end
return all
