-- Lists the first or last tasks of a sorted set, each as its ID and fields. The ID of a task that
-- another program deleted is removed.
-- KEYS: the sorted set, tasks:due   ARGV: 'first' or 'last', limit
local range = ARGV[1] == 'first' and 'ZRANGE' or 'ZREVRANGE'
local tasks = {}
for _, id in ipairs(redis.call(range, KEYS[1], 0, tonumber(ARGV[2]) - 1)) do
  local fields = redis.call('HGETALL', 'task:' .. id)
  if #fields > 0 then
    tasks[#tasks + 1] = {id, fields}
  else
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZREM', KEYS[2], id)
  end
end
return tasks
