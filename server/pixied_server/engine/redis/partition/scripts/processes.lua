-- Processes: which of them live, their notifications, and the state of a partition.

-- name, how many logs, logs. Publishes a barrier to this process: when it comes, all notifications before it were received. Returns the
-- offset of each log's last message, -1 for no log.
function operations.barrier(a)
  redis.call('SPUBLISH', channel(ME), 'S' .. PART .. '\n' .. ARGV[a] .. '\n' .. int(meta.sequence))
  local logs, offsets = {}, {}
  for index = 1, tonumber(ARGV[a + 1]) do logs[index] = ARGV[a + 1 + index] end
  states_of(logs)
  for index, log in ipairs(logs) do
    local state = state_of(log)
    offsets[index] = state and int(state.offset) or '-1'
  end
  return {1, offsets}
end

-- process, text. Returns how many receive it.
function operations.notify(a)
  return {1, redis.call('SPUBLISH', channel(ARGV[a]), ARGV[a + 1])}
end

-- how many, process, events. Publishes events of a process for watchers in other processes.
function operations.events(a)
  for index = a + 2, a + 1 + tonumber(ARGV[a]) do
    redis.call('SPUBLISH', B .. 'events', ARGV[a + 1] .. '\n' .. ARGV[index])
  end
  return {1}
end

-- seconds without a beat after which a process is dead, the kinds of events that this process wants, one bit each. Notes that this
-- process lives. Returns the dead processes, the kinds that others want, and whether this process was unknown.
function operations.beat(a)
  local wanted, silent = ARGV[a + 1], NOW - tonumber(ARGV[a])
  local new = redis.call('ZADD', B .. 'processes', num(NOW), ME)
  if wanted == '0' then redis.call('HDEL', B .. 'watchers', ME) else redis.call('HSET', B .. 'watchers', ME, num(NOW) .. ' ' .. wanted) end
  local others, all = 0, redis.call('HGETALL', B .. 'watchers')
  for index = 1, #all, 2 do
    local at, kinds = string.match(all[index + 1], '^(%S+) (%d+)$')
    if tonumber(at) < silent then redis.call('HDEL', B .. 'watchers', all[index])
    elseif all[index] ~= ME then others = bit.bor(others, tonumber(kinds)) end
  end
  return {1, redis.call('ZRANGEBYSCORE', B .. 'processes', '-inf', num(silent)), others, new}
end

function operations.processes() return {1, redis.call('ZRANGE', B .. 'processes', 0, -1)} end

-- process. Forgets a process that is gone.
function operations.leave(a)
  redis.call('ZREM', B .. 'processes', ARGV[a])
  redis.call('HDEL', B .. 'watchers', ARGV[a])
  redis.call('DEL', B .. 'links:' .. ARGV[a])
  return {1}
end

-- milliseconds. Takes or prolongs the lease, for work that one process has to do. Returns whether the caller has it.
function operations.lease(a)
  local key = B .. 'lease'
  local owner, ends = string.match(redis.call('GET', key) or '', '^(%S+) (%S+)$')
  if owner and owner ~= ME and tonumber(ends) > NOW then return {1, 0} end
  redis.call('SET', key, ME .. ' ' .. num(NOW + tonumber(ARGV[a]) / 1000))
  return {1, 1}
end

-- The number from which a process counts its cursors. Numbers follow the time, so no two processes give the same one: none gives a
-- million in a second.
function operations.first_cursor()
  local first = math.max(tonumber(redis.call('HGET', META, 'cursors') or 0) + 1000000, math.floor(NOW * 1000000))
  redis.call('HSET', META, 'cursors', int(first))
  return {1, int(first)}
end

-- The sequence of the youngest message.
function operations.head() return {1, int(meta.sequence)} end

-- the time that the clock should show, the skew that the caller has seen. Corrects the skew after the server's wall clock has jumped,
-- unless another process has done so already, or agrees with the server. Returns the time and the skew.
function operations.clock(a)
  local expected = tonumber(ARGV[a])
  if math.abs(meta.skew - tonumber(ARGV[a + 1])) < 0.001 and not others_agree(expected) then
    set_meta('skew', expected - MICRO / 1000000)
  end
  return {1, num(MICRO / 1000000 + meta.skew), num(meta.skew)}
end

-- version, partitions. Returns the partition's layout; a new partition takes this one.
function operations.layout(a)
  local known = redis.call('HMGET', META, 'layout', 'partitions')
  if known[1] then return {1, known[1], known[2]} end
  if redis.call('EXISTS', META) == 1 then return {1, '', ''} end
  redis.call('HSET', META, 'layout', ARGV[a], 'partitions', ARGV[a + 1])
  return {1, ARGV[a], ARGV[a + 1]}
end

-- version, partitions. Writes the layout again to a store that has lost everything.
function operations.remind(a)
  redis.call('HSETNX', META, 'layout', ARGV[a])
  redis.call('HSETNX', META, 'partitions', ARGV[a + 1])
  return {1}
end
