-- Deletes a task, open or completed.
-- KEYS: task:ID tasks:open tasks:due tasks:completed   ARGV: ID
for i = 2, 4 do
  redis.call('ZREM', KEYS[i], ARGV[1])
end
return redis.call('DEL', KEYS[1])
