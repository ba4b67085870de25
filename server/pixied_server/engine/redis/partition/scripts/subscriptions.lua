-- Subscriptions: a pattern's members and log in the partition of its name, a wildcard's logs in all partitions, and the client's record
-- of where each subscription begins. The client's record is the truth.

local function head_of(state) return int(meta.sequence) .. ':' .. int(state.offset) end

-- Numbers the changes of this partition's wildcard patterns: higher than all before, even those that Redis has lost, for other
-- partitions may know them.
local function next_version()
  local version = math.max(tonumber(redis.call('HGET', META, 'version') or 0) + 1, MICRO)
  redis.call('HSET', META, 'version', int(version))
  return version
end

-- pattern, id, whether it ends in a wildcard. Comes before `subscribe`: from the answer on the log has everything that is published.
-- Returns whether the client is the pattern's first member, the pattern's version, its members, the end of the log (sequence and
-- offset), and whether the client is a new member.
function operations.join(a)
  local pattern, id, wild = ARGV[a], ARGV[a + 1], ARGV[a + 2] == '1'
  local added = redis.call('ZADD', members_key(pattern), 0, id)
  local state = state_of(pattern)
  local first = not state
  if added == 1 then
    redis.call('ZADD', JOINS, num(NOW), pattern .. '\0' .. id)
    local version = state and state.version or 0
    if wild then version = next_version() end
    if first then
      redis.call('ZADD', PATTERNS, 0, pattern)
      state = begin_log(pattern, 0, 0)
    end
    state.subscribers, state.version = redis.call('ZCARD', members_key(pattern)), version
    touch(pattern)
    set_meta('subscriptions', meta.subscriptions + 1)
  elseif first then
    state = begin_log(pattern, redis.call('ZCARD', members_key(pattern)), 0)
  end
  return {1, added == 1 and first and 1 or 0, int(state.version), state.subscribers, head_of(state), added}
end

-- pattern, version, how many members, whether its log may begin: the same for a pattern whose members are in another partition. Returns
-- the end of its log here, and whether that has begun now. Where a member has left no log begins: a later change has ended it.
function operations.declare(a)
  local pattern, version, count, begins = ARGV[a], tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), ARGV[a + 3] == '1'
  local state = state_of(pattern)
  local began = not state
  if not state or state.version < version then
    if count == 0 or not (state or begins) then
      drop_log(pattern)
      return {1, int(meta.sequence) .. ':0', 0}
    end
    if not state then state = begin_log(pattern, count, version) end
    state.subscribers, state.version = count, version
    touch(pattern)
  end
  return {1, head_of(state), began and 1 or 0}
end

-- pattern. Returns its version and how many members it has, as far as this partition knows.
function operations.declared(a)
  local state = state_of(ARGV[a])
  return {1, state and int(state.version) or '0', state and state.subscribers or 0}
end

-- cursor. Returns the next cursor, and some of the wildcards that have a log here.
function operations.wildcards(a)
  local scan, found = redis.call('HSCAN', LOGS, ARGV[a], 'COUNT', 100), {}
  for index = 1, #scan[2], 2 do
    if string.sub(scan[2][index], -1) == '*' then found[#found + 1] = scan[2][index] end
  end
  return {1, scan[1], found}
end

-- pattern, id, whether it ends in a wildcard. Returns whether that was the last member, the version, how many members are left, and
-- whether the client was a member. A wildcard stays in `joins` until the caller has declared it: another one may have to do that.
function operations.part(a)
  local pattern, id, wild = ARGV[a], ARGV[a + 1], ARGV[a + 2] == '1'
  local note = pattern .. '\0' .. id
  if wild then redis.call('ZADD', JOINS, num(NOW), note) else redis.call('ZREM', JOINS, note) end
  local removed = redis.call('ZREM', members_key(pattern), id)
  if removed == 0 and not wild then return {1, 0, '0', 0, 0} end
  set_meta('subscriptions', meta.subscriptions - removed)
  local count = redis.call('ZCARD', members_key(pattern))
  local state = state_of(pattern)
  local version = wild and next_version() or 0
  if count == 0 then
    redis.call('ZREM', PATTERNS, pattern)
    drop_log(pattern)
  elseif state then
    state.subscribers, state.version = count, version
    touch(pattern)
  end
  return {1, count == 0 and removed or 0, int(version), count, removed}
end

-- how many, pattern and id of each. Nothing is left to be done for these members: their records have the subscriptions, or never will.
function operations.joined(a)
  for index = a + 1, a + 2 * tonumber(ARGV[a]), 2 do redis.call('ZREM', JOINS, ARGV[index] .. '\0' .. ARGV[index + 1]) end
  return {1}
end

-- age, most. Returns members whose records should have had the subscription so many seconds ago: pattern and id of each.
function operations.unjoined(a)
  local found = redis.call('ZRANGEBYSCORE', JOINS, '-inf', num(NOW - tonumber(ARGV[a])), 'LIMIT', 0, ARGV[a + 1])
  local pairs_of = {}
  for index, one in ipairs(found) do
    local pattern, id = string.match(one, '^(.*)%z(.*)$')
    pairs_of[index] = {pattern, id}
  end
  return {1, pairs_of}
end

-- Numbers the changes of a client's subscriptions: higher than all before, even those that Redis has lost, for its owner may know them.
-- Returns the number of the last change too: an owner that has missed one notices.
local function next_change(id)
  local before = tonumber(redis.call('HGET', client_key(id), 'changes') or 0)
  local change = math.max(before + 1, MICRO)
  redis.call('HSET', client_key(id), 'changes', int(change))
  return change, before
end

-- id, most, how many, patterns: each with where it begins. Returns which patterns are new, and the numbers of the change and of the one
-- before.
function operations.subscribe(a)
  local id, most, count = ARGV[a], tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  local is = alive(id)
  if not is then return UNKNOWN end
  local key, fresh, new = subscriptions_key(id), {}, {}
  for index = 1, count do
    local pattern = ARGV[a + 1 + 2 * index]
    new[index] = redis.call('HEXISTS', key, pattern) == 0 and 1 or 0
    if new[index] == 1 then
      fresh[#fresh + 1] = pattern
      fresh[#fresh + 1] = ARGV[a + 2 + 2 * index]
    end
  end
  local record = redis.call('HMGET', client_key(id), 'subscriptions', 'cap', 'last')
  local has = tonumber(record[1]) + #fresh / 2
  if has > most then return {0, 'LIMIT'} end
  if #fresh == 0 then return {1, new, 0, 0} end
  for index = 1, #fresh, 2 do redis.call('HSET', key, fresh[index], fresh[index + 1]) end
  local change, before = next_change(id)
  redis.call('HSET', client_key(id), 'subscriptions', has, 'joined', '0')
  if record[3] then
    -- The owner may be further than where these begin, and must not confirm messages that it does not know of. Nor must a former
    -- owner that was given up and has more to say.
    local cap = progress_of(record[2])
    for index = 2, #fresh, 2 do
      for part, sequence in string.gmatch(fresh[index], '(%d+):(%d+):%d+') do
        cap[part] = math.min(cap[part] or FOREVER, tonumber(sequence))
      end
    end
    redis.call('HSET', client_key(id), 'cap', text_of(cap))
  end
  if is.process ~= ME then notify(is.process, 'B', id, int(change)) end
  return {1, new, change, before}
end

-- id, how many, patterns. Returns which the client had, the number of the last change, that of the one before if this is the last, and
-- the owner if that is another process.
function operations.unsubscribe(a)
  local id, count = ARGV[a], tonumber(ARGV[a + 1])
  local is = alive(id)
  if not is then return UNKNOWN end
  local removed, gone = {}, {}
  for index = 1, count do
    removed[index] = redis.call('HDEL', subscriptions_key(id), ARGV[a + 1 + index])
    if removed[index] == 1 then gone[#gone + 1] = ARGV[a + 1 + index] end
  end
  if #gone == 0 then
    local change = tonumber(redis.call('HGET', client_key(id), 'changes') or 0)
    return {1, removed, change, change, owned_elsewhere(is)}
  end
  leave(id, gone)
  redis.call('HINCRBY', client_key(id), 'subscriptions', -#gone)
  local change, before = next_change(id)
  if is.process ~= ME then notify(is.process, 'U', id, int(change), int(before), table.concat(gone, '\n')) end
  return {1, removed, change, before, owned_elsewhere(is)}
end

-- id, how many, patterns. Returns which of them the client subscribes to.
function operations.subscribes(a)
  local id, found = ARGV[a], {}
  if not alive(id) then return UNKNOWN end
  for index = 1, tonumber(ARGV[a + 1]) do found[index] = redis.call('HEXISTS', subscriptions_key(id), ARGV[a + 1 + index]) end
  return {1, found}
end

-- For lists: after, most.
local function page(key, a)
  local after = ARGV[a] == '' and '-' or '(' .. ARGV[a]
  return redis.call('ZRANGEBYLEX', key, after, '+', 'LIMIT', 0, ARGV[a + 1])
end

function operations.clients(a) return {1, page(CLIENTS, a)} end
function operations.patterns(a) return {1, page(PATTERNS, a)} end
function operations.members(a) return {1, page(members_key(ARGV[a]), a + 1)} end

-- how many, pattern and id of each. Returns which of these are members.
function operations.are_members(a)
  local found = {}
  for index = 1, tonumber(ARGV[a]) do
    found[index] = redis.call('ZSCORE', members_key(ARGV[a - 1 + 2 * index]), ARGV[a + 2 * index]) and 1 or 0
  end
  return {1, found}
end
