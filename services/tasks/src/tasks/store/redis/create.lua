-- Adds an open task, unless the maximum number of open tasks is reached.
-- KEYS: task:ID tasks:open tasks:due   ARGV: ID, rank, due in Unix ms or '', maximum, fields…
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then
  return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
if ARGV[3] ~= '' then
  redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
end
return 1
