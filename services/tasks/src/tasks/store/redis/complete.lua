-- Completes a task, unless it is completed already, and evicts the oldest completed ones.
-- KEYS: task:ID tasks:open tasks:due tasks:completed
-- ARGV: ID, now as text, now in Unix ms, maximum number of completed tasks
if redis.call('EXISTS', KEYS[1]) == 0 then
  return false
end
local is_new = redis.call('HSETNX', KEYS[1], 'completed', ARGV[2])
-- Read before the eviction: if clocks differ, this task may be among the oldest.
local task = redis.call('HGETALL', KEYS[1])
local evicted = 0
if is_new == 1 then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('ZADD', KEYS[4], ARGV[3], ARGV[1])
  while redis.call('ZCARD', KEYS[4]) > tonumber(ARGV[4]) do
    local oldest = redis.call('ZPOPMIN', KEYS[4])
    redis.call('DEL', 'task:' .. oldest[1])
    evicted = evicted + 1
  end
end
return {is_new, evicted, task}
