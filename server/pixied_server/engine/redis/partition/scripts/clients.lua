-- Clients: sessions, and the namespaces that are reserved besides them.

-- A live client's fields, or nil.
local function alive(id)
  local is = redis.call('HMGET', client_key(id), 'deadline', 'claim', 'expires', 'timeout', 'process', 'generation')
  if not is[1] then return nil end
  local kept = is[2] ~= '0' and is[3] == '0'
  if not kept and tonumber(is[1]) <= JUDGED then return nil end
  return {deadline = tonumber(is[1]), claim = is[2], kept = kept, timeout = tonumber(is[4]), process = is[5],
    generation = tonumber(is[6]) or 0}
end

-- The process that is notified of a client, if that is another one, or "": its owner, or who was given up as its owner.
local function elsewhere(is) return is.process ~= ME and is.process or '' end

-- The owner of a client, if that is another process, or "".
local function owned_elsewhere(is) return is.claim ~= '0' and elsewhere(is) or '' end

local function set_deadline(id, deadline, kept)
  redis.call('HSET', client_key(id), 'deadline', num(deadline))
  if kept then redis.call('ZREM', DEADLINES, id) else redis.call('ZADD', DEADLINES, num(deadline), id) end
end

-- Delete all of a client that is in its own partition; `leaving` keeps its patterns until none has it as a member. Returns them.
local function finish(id, kind, reason)
  local patterns = redis.call('HKEYS', subscriptions_key(id))
  local process = redis.call('HGET', client_key(id), 'process')
  redis.call('HSET', LEAVING, id, num(NOW) .. '\n' .. table.concat(patterns, '\n'))
  redis.call('DEL', client_key(id), subscriptions_key(id))
  drop_log(id)
  redis.call('ZREM', DEADLINES, id)
  redis.call('ZREM', CLIENTS, id)
  if process and process ~= '' then
    redis.call('SREM', owned_key(process), id)
    if process ~= ME then notify(process, 'G', id, kind, reason) end
  end
  return patterns
end

-- id, session timeout, attributes. Returns when it was created and its deadline.
function operations.create(a)
  local id, timeout, attributes = ARGV[a], tonumber(ARGV[a + 1]), ARGV[a + 2]
  if redis.call('EXISTS', client_key(id)) == 1 or redis.call('SISMEMBER', NAMESPACES, id) == 1
    or redis.call('HEXISTS', LEAVING, id) == 1 then
    return {0, 'TAKEN'}
  end
  local deadline = NOW + timeout
  redis.call('HSET', client_key(id), 'created', num(NOW), 'timeout', num(timeout), 'attributes', attributes, 'claim', '0',
    'process', '', 'front_end', '', 'expires', '1', 'subscriptions', '0', 'generation', int(meta.generation))
  set_deadline(id, deadline, false)
  redis.call('ZADD', CLIENTS, 0, id)
  return {1, num(NOW), num(deadline)}
end

-- id. Returns the fields of its record, and its subscriptions.
function operations.look(a)
  local id = ARGV[a]
  if not alive(id) then return UNKNOWN end
  return {1, whole(client_key(id)), whole(subscriptions_key(id))}
end

-- id. Returns the new deadline, "" for a client that is kept alive.
function operations.ping(a)
  local id = ARGV[a]
  local is = alive(id)
  if not is then return UNKNOWN end
  local deadline = NOW + is.timeout
  set_deadline(id, deadline, is.kept)
  return {1, is.kept and '' or num(deadline)}
end

-- id, reason. Returns its patterns, and the other process that owned it.
function operations.destroy(a)
  local id, reason = ARGV[a], ARGV[a + 1]
  local is = alive(id)
  if not is then return UNKNOWN end
  return {1, finish(id, 'destroyed', reason), owned_elsewhere(is)}
end

-- End sessions whose time is over, as many as one call may: most. Returns seconds to the next deadline, "" for none, and the sessions
-- that ended: id and patterns.
function operations.expire(a)
  if pauses then
    set_meta('paused', JUDGED)
    set_meta('heard', NOW + GRACE)
  end
  set_meta('swept', NOW)
  local due = redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', num(JUDGED), 'LIMIT', 0, ARGV[a])
  local ended, work = {}, 0
  for _, id in ipairs(due) do
    local patterns = finish(id, 'expired', 'timed out')
    ended[#ended + 1] = {id, patterns}
    work = work + 10 + #patterns
    if work > WORK then break end
  end
  -- The process that ends sessions notes for the others that the server's clock is right.
  if string.sub(ARGV[2], 1, 1) == '~' and math.abs(CLOCK - tonumber(string.sub(ARGV[2], 2))) < 0.5 then
    set_meta('agreed', CLOCK)
    if agreed_by ~= ME then redis.call('HSET', META, 'agreed_by', ME) end
  end
  local next = redis.call('ZRANGE', DEADLINES, 0, 0, 'WITHSCORES')
  return {1, next[2] and num(tonumber(next[2]) - JUDGED) or '', ended}
end

-- id, how many, patterns. None of these has the client as a member any more; others that it is leaving may. Returns which of them the
-- client has come to subscribe to meanwhile.
function operations.left(a)
  local id, found, gone = ARGV[a], {}, {}
  for index = 1, tonumber(ARGV[a + 1]) do
    local pattern = ARGV[a + 1 + index]
    found[index] = redis.call('HEXISTS', subscriptions_key(id), pattern)
    gone[pattern] = true
  end
  local at, patterns = string.match(redis.call('HGET', LEAVING, id) or '', '^([^\n]*)\n?(.*)$')
  local stay = {at}
  for pattern in string.gmatch(patterns, '[^\n]+') do
    if not gone[pattern] and redis.call('HEXISTS', subscriptions_key(id), pattern) == 0 then stay[#stay + 1] = pattern end
  end
  if #stay > 1 then redis.call('HSET', LEAVING, id, table.concat(stay, '\n')) else redis.call('HDEL', LEAVING, id) end
  return {1, found}
end

-- Note patterns that may have the client as a member although it does not subscribe to them.
local function leave(id, patterns)
  local before = redis.call('HGET', LEAVING, id)
  local words = before and string.match(before, '^[^\n]*\n?(.*)$') or ''
  local all = {num(NOW), words ~= '' and words or nil}
  for _, pattern in ipairs(patterns) do all[#all + 1] = pattern end
  redis.call('HSET', LEAVING, id, table.concat(all, '\n'))
end

-- age, cursor. Clients that have been leaving patterns for longer than so many seconds: the process that began it has died. Returns
-- the next cursor, and these clients with their patterns.
function operations.leavings(a)
  local before, found = NOW - tonumber(ARGV[a]), {}
  local scan = redis.call('HSCAN', LEAVING, ARGV[a + 1], 'COUNT', 100)
  for index = 1, #scan[2], 2 do
    local at, patterns = string.match(scan[2][index + 1], '^([^\n]*)\n?(.*)$')
    if tonumber(at) <= before then found[#found + 1] = {scan[2][index], patterns} end
  end
  return {1, scan[1], found}
end

-- how many, ids. Returns which of these clients are alive.
function operations.alive(a)
  local found = {}
  for index = 1, tonumber(ARGV[a]) do found[index] = alive(ARGV[a + index]) and 1 or 0 end
  return {1, found}
end

-- Namespaces

function operations.reserve(a)
  local name = ARGV[a]
  if redis.call('EXISTS', client_key(name)) == 1 or redis.call('HEXISTS', LEAVING, name) == 1 then return {0, 'TAKEN'} end
  if redis.call('SADD', NAMESPACES, name) == 0 then return {0, 'TAKEN'} end
  return {1}
end

function operations.free(a)
  local name = ARGV[a]
  if redis.call('SREM', NAMESPACES, name) == 1 then return {1} end
  return {0, alive(name) and 'IN_USE' or 'UNKNOWN'}
end
