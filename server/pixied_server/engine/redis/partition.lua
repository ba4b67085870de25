-- What is done in one partition, each operation wholly or not at all, many of them in one call. See docs/redis.md for the keys.
--
-- KEYS[1]  <base>meta, KEYS[2] <base>absent: the second never exists, so that a cluster answers TRYAGAIN while the slot migrates
-- ARGV     what the server has drawn when it was started, the time in seconds or "", the caller's process, the partition's number,
--          then operations: name, number of arguments, arguments
-- returns  what the partition holds, then each operation's result: {1, ...} or {0, code, ...}. Or, and nothing was done, after how
--          many microseconds to ask again

local B = string.sub(KEYS[1], 1, -5)
local SERVER, ME, PART = ARGV[1], ARGV[3], ARGV[4]
local TIME = redis.call('TIME')
local MICRO = TIME[1] * 1000000 + TIME[2]
local NOW = ARGV[2] ~= '' and tonumber(ARGV[2]) or MICRO / 1000000

local META = B .. 'meta'
local DEADLINES, CLIENTS, DEAD = B .. 'deadlines', B .. 'clients', B .. 'dead'
local PATTERNS, COUNTS = B .. 'patterns', B .. 'counts'
local OFFSETS, BYTES, CUTS, AGES, SHARED = B .. 'offsets', B .. 'bytes', B .. 'cuts', B .. 'ages', B .. 'shared'
local BEGINS = B .. 'begins'
local KEYS_SEEN, KEYS_AGE = B .. 'keys', B .. 'keys-age'
local NAMESPACES = B .. 'namespaces'

local function num(value) return string.format('%.17g', value) end
local function int(value) return string.format('%.0f', value) end
local function client_key(id) return B .. 'client:' .. id end
local function cursors_key(id) return B .. 'cursors:' .. id end
local function control(process) return B .. 'process:' .. process end
local function held_key(process) return B .. 'held:' .. process end
local function log_key(log) return B .. 'log:' .. log end

-- A log's name is its pattern; an inbox's is the client's id, which has no slash.

-- Where a message stands among all of the partition: microseconds since the epoch, and always beyond the one before. So places are
-- not given a second time when Redis has lost the youngest of them.
local function position() return tonumber(redis.call('HGET', META, 'position') or 0) end

local function next_place()
  local place = int(math.max(position() + 1, MICRO))
  redis.call('HSET', META, 'position', place)
  return place
end

local function parsed(id)
  local place, offset = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(place), tonumber(offset)
end

-- A message that several logs hold is counted once.
local function uncounted(place, size)
  local holders = redis.call('HGET', SHARED, place)
  if holders then
    holders = tonumber(holders) - 1
    if holders > 1 then redis.call('HSET', SHARED, place, holders) else redis.call('HDEL', SHARED, place) end
    if holders >= 1 then return end
  end
  redis.call('HINCRBY', META, 'bytes', -size)
  redis.call('HINCRBY', META, 'messages', -1)
end

local function take_away(log, entry)
  local place = parsed(entry[1])
  local size = tonumber(entry[2][2])
  redis.call('XDEL', log_key(log), entry[1])
  redis.call('HINCRBY', BYTES, log, -size)
  uncounted(int(place), size)
  return place, size
end

local function oldest(log) return redis.call('XRANGE', log_key(log), '-', '+', 'COUNT', 1)[1] end

-- The oldest goes before its time: readers can tell by the cut, and by offsets that are missing.
local function cut(log, entry)
  local place = take_away(log, entry)
  -- What Redis lost is younger than what goes before its time.
  if place > tonumber(redis.call('HGET', CUTS, log) or 0) then redis.call('HSET', CUTS, log, int(place)) end
end

local function forget(log, place)
  while true do
    local entries = redis.call('XRANGE', log_key(log), '-', int(place), 'COUNT', 100)
    if #entries == 0 then return end
    for _, entry in ipairs(entries) do take_away(log, entry) end
  end
end

local function drop_log(log)
  forget(log, 9007199254740991)
  redis.call('DEL', log_key(log))
  redis.call('HDEL', OFFSETS, log)
  redis.call('HDEL', BEGINS, log)
  redis.call('HDEL', BYTES, log)
  redis.call('HDEL', CUTS, log)
  redis.call('ZREM', AGES, log)
end

-- A log that begins is beyond all that one of its name ever had: what a process knows of that one says nothing of this.
-- And who knew that one, or knew nothing, has missed nothing of what was never there: where it began is kept.
local function begin_log(log)
  if redis.call('HEXISTS', OFFSETS, log) == 1 then return end
  local place = next_place()
  redis.call('HSET', OFFSETS, log, place)
  redis.call('HSET', BEGINS, log, place)
end

local function append(log, place, size, blob, most, largest)
  local key = log_key(log)
  local offset = redis.call('HINCRBY', OFFSETS, log, 1)
  redis.call('XADD', key, place .. '-' .. int(offset), 's', size, 'a', num(NOW), 'b', blob)
  local bytes = redis.call('HINCRBY', BYTES, log, size)
  redis.call('ZADD', AGES, 'NX', place, log)
  local length = redis.call('XLEN', key)
  return offset, length > most or bytes > largest
end

local function trim(log, most, largest)
  local key = log_key(log)
  while redis.call('XLEN', key) > most or tonumber(redis.call('HGET', BYTES, log) or 0) > largest do
    local entry = oldest(log)
    if not entry then return end
    cut(log, entry)
  end
end

-- The log whose oldest entry is the oldest of all, and that entry.
local function oldest_of_all()
  while true do
    local first = redis.call('ZRANGE', AGES, 0, 0, 'WITHSCORES')
    if #first == 0 then return end
    local entry = oldest(first[1])
    if not entry then
      redis.call('ZREM', AGES, first[1])
    else
      local place = parsed(entry[1])
      if place == tonumber(first[2]) then return first[1], entry end
      redis.call('ZADD', AGES, place, first[1])
    end
  end
end

local function mail(kind, place, names, blob)
  return table.concat({kind .. PART, place, num(NOW), names, blob}, '\n')
end

local function tell(process, ...)
  if process and process ~= '' then redis.call('SPUBLISH', control(process), table.concat({...}, '\n')) end
end

-- Clients

local function alive(id)
  local is = redis.call('HMGET', client_key(id), 'deadline', 'claim', 'expires', 'timeout', 'process')
  if not is[1] then return nil end
  local kept = is[2] ~= '0' and is[3] == '0'
  if not kept and tonumber(is[1]) <= NOW then return nil end
  return {deadline = tonumber(is[1]), claim = is[2], kept = kept, timeout = tonumber(is[4]), process = is[5]}
end

local UNKNOWN = {0, 'UNKNOWN'}

-- The process that holds a client, if that is another one.
local function elsewhere(is) return is.process ~= ME and is.process or '' end

-- Cursors: "place:offset" for each log that a client reads, under "pattern\0partition"; "\0partition" is the inbox. The offset is
-- that of the last entry at the place, or of an earlier one where that is not known.
local function confirm(id, at, count)
  local key = cursors_key(id)
  for index = at, at + 3 * count - 3, 3 do
    local field, place, offset = ARGV[index], ARGV[index + 1], ARGV[index + 2]
    local old = redis.call('HGET', key, field)
    if old then
      local old_place = tonumber(string.match(old, '^%d+'))
      local new_place = tonumber(place)
      if new_place > old_place then
        redis.call('HSET', key, field, place .. ':' .. offset)
        if string.sub(field, 1, 1) == '\0' then forget(id, new_place) end
      end
    end
  end
  return at + 3 * count
end

local function sent(id, at, count)
  local key = client_key(id)
  for index = at, at + 2 * count - 2, 2 do
    local field, place = 'sent' .. ARGV[index], tonumber(ARGV[index + 1])
    if place > tonumber(redis.call('HGET', key, field) or 0) then redis.call('HSET', key, field, int(place)) end
  end
end

local function set_deadline(id, deadline, kept)
  redis.call('HSET', client_key(id), 'deadline', num(deadline))
  if kept then redis.call('ZREM', DEADLINES, id) else redis.call('ZADD', DEADLINES, num(deadline), id) end
end

-- Everything of a client that is in its own partition goes; what it subscribes to is noted until all logs know.
local function finish(id, kind, reason)
  local fields = redis.call('HKEYS', cursors_key(id))
  local is = redis.call('HMGET', client_key(id), 'process')
  redis.call('HSET', DEAD, id, num(NOW) .. '\n' .. table.concat(fields, '\n'))
  redis.call('DEL', client_key(id), cursors_key(id))
  drop_log(id)
  redis.call('ZREM', DEADLINES, id)
  redis.call('ZREM', CLIENTS, id)
  if is[1] and is[1] ~= '' then
    redis.call('SREM', held_key(is[1]), id)
    if is[1] ~= ME then tell(is[1], 'G', id, kind, reason) end
  end
  return fields
end

local operations = {}

function operations.create(a)
  local id, timeout, attributes = ARGV[a], tonumber(ARGV[a + 1]), ARGV[a + 2]
  if redis.call('EXISTS', client_key(id)) == 1 or redis.call('SISMEMBER', NAMESPACES, id) == 1
    or redis.call('HEXISTS', DEAD, id) == 1 then
    return {0, 'TAKEN'}
  end
  local deadline = NOW + timeout
  redis.call('HSET', client_key(id), 'created', num(NOW), 'timeout', num(timeout), 'attributes', attributes, 'claim', '0',
    'process', '', 'front_end', '', 'expires', '1', 'subscriptions', '0')
  set_deadline(id, deadline, false)
  redis.call('ZADD', CLIENTS, 0, id)
  return {1, num(NOW), num(deadline)}
end

function operations.look(a)
  local id = ARGV[a]
  if not alive(id) then return UNKNOWN end
  return {1, redis.call('HGETALL', client_key(id)), redis.call('HGETALL', cursors_key(id))}
end

function operations.ping(a)
  local id = ARGV[a]
  local is = alive(id)
  if not is then return UNKNOWN end
  local deadline = NOW + is.timeout
  set_deadline(id, deadline, is.kept)
  return {1, is.kept and '' or num(deadline)}
end

function operations.destroy(a)
  local id, reason = ARGV[a], ARGV[a + 1]
  local is = alive(id)
  if not is then return UNKNOWN end
  return {1, finish(id, 'destroyed', reason), elsewhere(is)}
end

-- Sessions whose time is over, at most so many, and in how many seconds the next one is.
function operations.expire(a)
  local due = redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', num(NOW), 'LIMIT', 0, ARGV[a])
  local ended = {}
  for _, id in ipairs(due) do ended[#ended + 1] = {id, finish(id, 'expired', 'timed out')} end
  local next = redis.call('ZRANGE', DEADLINES, 0, 0, 'WITHSCORES')
  return {1, next[2] and num(tonumber(next[2]) - NOW) or '', ended}
end

-- No log knows of the client any more.
function operations.buried(a)
  redis.call('HDEL', DEAD, ARGV[a])
  return {1}
end

-- Clients that were ended long ago and are not buried: whoever ended them died over it.
function operations.unburied(a)
  local before, found = NOW - tonumber(ARGV[a]), {}
  local scan = redis.call('HSCAN', DEAD, ARGV[a + 1], 'COUNT', 100)
  for index = 1, #scan[2], 2 do
    local at, fields = string.match(scan[2][index + 1], '^([^\n]*)\n?(.*)$')
    if tonumber(at) <= before then found[#found + 1] = {scan[2][index], fields} end
  end
  return {1, scan[1], found}
end

-- Subscriptions

-- To be done before the client's own part: from the answer on everything that is published is in the log.
function operations.join(a)
  local pattern, id, wild = ARGV[a], ARGV[a + 1], ARGV[a + 2] == '1'
  local key = B .. 'members:' .. pattern
  local added = redis.call('ZADD', key, 0, id)
  local count = redis.call('ZCARD', key)
  local version = 0
  if added == 1 then
    if count == 1 then
      redis.call('ZADD', PATTERNS, 0, pattern)
      begin_log(pattern)
    end
    if wild then version = redis.call('HINCRBY', META, 'version', 1) end
    redis.call('HSET', COUNTS, pattern, version .. ' ' .. count)
    redis.call('HINCRBY', META, 'subscriptions', 1)
  else
    version = tonumber(string.match(redis.call('HGET', COUNTS, pattern), '^%d+'))
  end
  return {1, added == 1 and count == 1 and 1 or 0, version, count, int(position()),
    redis.call('HGET', OFFSETS, pattern) or '0', added}
end

-- The same for a pattern whose members are in another partition.
function operations.declare(a)
  local pattern, version, count = ARGV[a], tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  local old = redis.call('HGET', COUNTS, pattern)
  if not old or tonumber(string.match(old, '^%d+')) < version then
    if count == 0 then
      redis.call('HDEL', COUNTS, pattern)
      drop_log(pattern)
    else
      redis.call('HSET', COUNTS, pattern, version .. ' ' .. count)
      begin_log(pattern)
    end
  end
  return {1, int(position()), redis.call('HGET', OFFSETS, pattern) or '0'}
end

function operations.part(a)
  local pattern, id, wild = ARGV[a], ARGV[a + 1], ARGV[a + 2] == '1'
  local key = B .. 'members:' .. pattern
  if redis.call('ZREM', key, id) == 0 then return {1, 0, 0, 0, 0} end
  redis.call('HINCRBY', META, 'subscriptions', -1)
  local count = redis.call('ZCARD', key)
  local version = wild and redis.call('HINCRBY', META, 'version', 1) or 0
  if count == 0 then
    redis.call('ZREM', PATTERNS, pattern)
    redis.call('HDEL', COUNTS, pattern)
    drop_log(pattern)
  else
    redis.call('HSET', COUNTS, pattern, version .. ' ' .. count)
  end
  return {1, count == 0 and 1 or 0, version, count, 1}
end

-- Each change has a number, one more than the last one's: so whoever holds the client knows whether it has heard of all.
-- id, most, patterns: each with a number of logs, and for each the partition, the place and the offset from which it reads
function operations.subscribe(a)
  local id, most, count = ARGV[a], tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  local is = alive(id)
  if not is then return UNKNOWN end
  local key, at, fresh, new = cursors_key(id), a + 3, {}, {}
  for index = 1, count do
    local pattern, logs = ARGV[at], tonumber(ARGV[at + 1])
    local is_new = redis.call('HEXISTS', key, pattern .. '\0' .. ARGV[at + 2]) == 0
    new[index] = is_new and 1 or 0
    if is_new then fresh[#fresh + 1] = at end
    at = at + 2 + 3 * logs
  end
  local has = tonumber(redis.call('HGET', client_key(id), 'subscriptions'))
  if has + #fresh > most then return {0, 'LIMIT'} end
  for _, begin in ipairs(fresh) do
    local pattern, logs = ARGV[begin], tonumber(ARGV[begin + 1])
    for place = begin + 2, begin + 3 * logs, 3 do
      redis.call('HSET', key, pattern .. '\0' .. ARGV[place], ARGV[place + 1] .. ':' .. ARGV[place + 2])
    end
  end
  local version = 0
  if #fresh > 0 then
    redis.call('HSET', client_key(id), 'subscriptions', has + #fresh, 'joined', '0')
    version = redis.call('HINCRBY', client_key(id), 'changes', 1)
    if is.process ~= ME then tell(is.process, 'B', id, version) end
  end
  return {1, new, version}
end

-- id, patterns: each with a number of logs and their partitions. Returns which there were, the number of the last change, and the
-- process that has to know of it.
function operations.unsubscribe(a)
  local id, count = ARGV[a], tonumber(ARGV[a + 1])
  local is = alive(id)
  if not is then return UNKNOWN end
  local key, at, removed, gone = cursors_key(id), a + 2, {}, {}
  for index = 1, count do
    local pattern, logs = ARGV[at], tonumber(ARGV[at + 1])
    local had = 0
    for place = at + 2, at + 1 + logs do had = had + redis.call('HDEL', key, pattern .. '\0' .. ARGV[place]) end
    removed[index] = had > 0 and 1 or 0
    if had > 0 then gone[#gone + 1] = pattern end
    at = at + 2 + logs
  end
  if #gone > 0 then
    redis.call('HINCRBY', client_key(id), 'subscriptions', -#gone)
    local version = redis.call('HINCRBY', client_key(id), 'changes', 1)
    if is.process ~= ME then tell(is.process, 'U', id, version, unpack(gone)) end
  end
  return {1, removed, tonumber(redis.call('HGET', client_key(id), 'changes') or 0), elsewhere(is)}
end

function operations.subscribes(a)
  local id = ARGV[a]
  if not alive(id) then return UNKNOWN end
  return {1, redis.call('HEXISTS', cursors_key(id), ARGV[a + 1])}
end

-- Mail

-- A key stands for one message: a fingerprint, and behind it what came of the message once it was published or queued.
-- Returns what that is; or nothing, and why the key can't stand for a message with this fingerprint.
local function done_before(key, fingerprint, room)
  if key == '' then return end
  local known = redis.call('HGET', KEYS_SEEN, key)
  if known then
    local stands_for, outcome = string.match(known, '^(%S+) ?(%d*)$')
    if stands_for ~= fingerprint then return nil, {0, 'REUSED'} end
    return tonumber(outcome)
  end
  if room ~= '1' then
    local first = redis.call('ZRANGE', KEYS_AGE, 0, 0, 'WITHSCORES')
    return nil, {0, 'FULL', first[2] or ''}
  end
end

local function remember(key, fingerprint, outcome)
  if key ~= '' then
    redis.call('HSET', KEYS_SEEN, key, fingerprint .. ' ' .. outcome)
    redis.call('ZADD', KEYS_AGE, num(NOW), key)
  end
end

-- key or "", its fingerprint, whether there is room for a new one, bounds of a log (messages, bytes), size, message, the patterns
-- that its channel matches. Returns how many subscriptions it matched, whether it was known, its place, and for each log that has
-- it: the log and its offset there.
function operations.publish(a)
  local key, fingerprint = ARGV[a], ARGV[a + 1]
  local known, refusal = done_before(key, fingerprint, ARGV[a + 2])
  if refusal then return refusal end
  if known then return {1, known, 1, 0} end
  local most, largest, size, blob = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]), ARGV[a + 5], ARGV[a + 6]
  local count = tonumber(ARGV[a + 7])
  local patterns = {}
  for index = 1, count do patterns[index] = ARGV[a + 7 + index] end
  local counts = redis.call('HMGET', COUNTS, unpack(patterns))
  local matched, logs, offsets, place = 0, {}, {}, nil
  for index = 1, count do
    if counts[index] then
      matched = matched + tonumber(string.match(counts[index], '%d+$'))
      logs[#logs + 1] = patterns[index]
    end
  end
  if #logs > 0 then
    place = next_place()
    redis.call('HINCRBY', META, 'bytes', size)
    redis.call('HINCRBY', META, 'messages', 1)
    if #logs > 1 then redis.call('HSET', SHARED, place, #logs) end
    local names, long = {}, {}
    for _, log in ipairs(logs) do
      local offset, exceeds = append(log, place, size, blob, most, largest)
      names[#names + 1] = log .. '\t' .. int(offset)
      offsets[#offsets + 1] = log
      offsets[#offsets + 1] = offset
      if exceeds then long[#long + 1] = log end
    end
    local announced = mail('M', place, table.concat(names, '\t'), blob)
    for _, log in ipairs(logs) do redis.call('SPUBLISH', B .. 'mail:' .. log, announced) end
    for _, log in ipairs(long) do trim(log, most, largest) end
  end
  remember(key, fingerprint, matched)
  return {1, matched, 0, place or 0, unpack(offsets)}
end

-- id, key or "", its fingerprint, whether there is room for a new one, bounds of a log, size, message
function operations.queue(a)
  local id, key, fingerprint = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  local is = alive(id)
  if not is then return UNKNOWN end
  local known, refusal = done_before(key, fingerprint, ARGV[a + 3])
  if refusal then return refusal end
  if known then return {1, 1, 0, 0} end
  local most, largest, size, blob = tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5]), ARGV[a + 6], ARGV[a + 7]
  redis.call('HSETNX', cursors_key(id), '\0' .. PART, '0:0')
  local place = next_place()
  redis.call('HINCRBY', META, 'bytes', size)
  redis.call('HINCRBY', META, 'messages', 1)
  local offset, exceeds = append(id, place, size, blob, most, largest)
  tell(is.process, mail('I', place, id .. '\t' .. int(offset), blob))
  if exceeds then trim(id, most, largest) end
  remember(key, fingerprint, 1)
  return {1, 0, place, offset}
end

-- The key of one message among several that are published or queued all or none: key, its fingerprint, whether there is room for a
-- new one. Returns whether it was known.
function operations.reserve_key(a)
  local key, fingerprint = ARGV[a], ARGV[a + 1]
  local _, refusal = done_before(key, fingerprint, ARGV[a + 2])
  if refusal then return refusal end
  if redis.call('HSETNX', KEYS_SEEN, key, fingerprint) == 0 then return {1, 1} end
  redis.call('ZADD', KEYS_AGE, num(NOW), key)
  return {1, 0}
end

-- Unless somebody else has used it meanwhile.
function operations.free_key(a)
  local known = redis.call('HGET', KEYS_SEEN, ARGV[a])
  if known and not string.find(known, ' ', 1, true) then
    redis.call('HDEL', KEYS_SEEN, ARGV[a])
    redis.call('ZREM', KEYS_AGE, ARGV[a])
  end
  return {1}
end

-- Keys older than so many seconds mean nothing any more; at most so many.
function operations.forget_keys(a)
  local old = redis.call('ZRANGEBYSCORE', KEYS_AGE, '-inf', num(NOW - tonumber(ARGV[a])), 'LIMIT', 0, ARGV[a + 1])
  for _, member in ipairs(old) do
    redis.call('HDEL', KEYS_SEEN, member)
    redis.call('ZREM', KEYS_AGE, member)
  end
  return {1, #old}
end

-- The offset of the first entry beyond a place, whether it is there already or not.
local function offset_beyond(log, place)
  local entry = redis.call('XRANGE', log_key(log), int(place + 1), '+', 'COUNT', 1)[1]
  if not entry then return tonumber(redis.call('HGET', OFFSETS, log) or 0) + 1 end
  local _, offset = parsed(entry[1])
  return offset
end

-- Reading: at most so many messages and bytes of each log, up to a place or "" for all, then logs: name, place and offset read up to.
-- Returns the place reached, and for each log: its offset after what is returned, how many are missing, whether there is more, the
-- entries (id, time, message).
function operations.read(a)
  local most, room, upto, count = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), ARGV[a + 2], tonumber(ARGV[a + 3])
  upto = upto ~= '' and tonumber(upto) or position()
  local answer = {1, int(upto)}
  for index = 1, count do
    local at = a + 4 + 3 * (index - 1)
    local log, place = ARGV[at], tonumber(ARGV[at + 1])
    local offset = math.max(tonumber(ARGV[at + 2]), tonumber(redis.call('HGET', BEGINS, log) or 0))
    local found, missing, last, more, used = {}, 0, offset, 0, 0
    if upto > place then
      local entries = redis.call('XRANGE', log_key(log), int(place + 1), int(upto), 'COUNT', most + 1)
      local first = entries[1]
      local cut_at = tonumber(redis.call('HGET', CUTS, log) or 0)
      if cut_at > place then
        local _, next = nil, offset_beyond(log, upto)
        if first then _, next = parsed(first[1]) end
        missing = math.max(next - 1 - offset, 0)
        last = next - 1
      end
      for number, entry in ipairs(entries) do
        local size = tonumber(entry[2][2])
        if number > most or (number > 1 and used + size > room) then
          more = 1
          break
        end
        used = used + size
        local _, entry_offset = parsed(entry[1])
        -- Behind one that is there none is ever taken away: Redis has lost it.
        if number > 1 then missing = missing + entry_offset - last - 1 end
        last = entry_offset
        found[number] = {entry[1], entry[2][4], entry[2][6]}
      end
      if first and more == 0 and cut_at > parsed(entries[#entries][1]) then
        local next = offset_beyond(log, upto)
        missing = missing + next - 1 - last
        last = next - 1
      end
    end
    answer[#answer + 1] = {int(last), missing, more, found}
  end
  return answer
end

-- How many messages logs hold beyond cursors, each once where there are not too many to look at: name, place, offset each.
function operations.pending(a)
  local exact, count = tonumber(ARGV[a]), tonumber(ARGV[a + 1])
  local together, seen, different = 0, {}, 0
  for index = 1, count do
    local at = a + 2 + 3 * (index - 1)
    local log, place = ARGV[at], tonumber(ARGV[at + 1])
    local entries = redis.call('XRANGE', log_key(log), int(place + 1), '+', 'COUNT', 1)
    if entries[1] then
      local _, first = parsed(entries[1][1])
      local _, last = parsed(redis.call('XREVRANGE', log_key(log), '+', '-', 'COUNT', 1)[1][1])
      together = together + last - first + 1
    end
  end
  if together == 0 or together > exact or count == 1 then return {1, together} end
  for index = 1, count do
    local at = a + 2 + 3 * (index - 1)
    for _, entry in ipairs(redis.call('XRANGE', log_key(ARGV[at]), int(tonumber(ARGV[at + 1]) + 1), '+')) do
      local place = parsed(entry[1])
      if not seen[place] then
        seen[place] = true
        different = different + 1
      end
    end
  end
  return {1, different}
end

-- What is too old goes, at most so many: age in seconds.
function operations.sweep(a)
  local before, most, dropped = NOW - tonumber(ARGV[a]), tonumber(ARGV[a + 1]), 0
  while dropped < most do
    local log, entry = oldest_of_all()
    if not log or tonumber(entry[2][4]) >= before then break end
    cut(log, entry)
    dropped = dropped + 1
  end
  return {1, dropped}
end

-- The oldest goes until so many bytes are free, or the next is beyond the given place.
function operations.shrink(a)
  local bytes, upto, freed = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), 0
  while freed < bytes do
    local log, entry = oldest_of_all()
    if not log or parsed(entry[1]) > upto then break end
    local before = tonumber(redis.call('HGET', META, 'bytes') or 0)
    cut(log, entry)
    freed = freed + before - tonumber(redis.call('HGET', META, 'bytes') or 0)
  end
  local _, entry = oldest_of_all()
  return {1, int(freed), entry and int((parsed(entry[1]))) or ''}
end

-- Claims

-- A claim is unsettled as long as nobody knows what the holders before it have sent.
-- id, front-end, expires, link, force, number of the claim that is settled, its cursors, its sent positions. Returns the claim's
-- number, what the client was before, its cursors, and up to which place there was no mail in its inbox if there never was any.
function operations.claim(a)
  local id, front_end, expires, link, force, settled = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
  local is = alive(id)
  if not is then return UNKNOWN end
  local key = client_key(id)
  local mine = is.claim ~= '0' and is.process == ME
  if is.claim ~= '0' and not mine and force == '0' then
    tell(is.process, 'Y', id, ME)
    return {2, is.process}
  end
  if mine and is.claim == settled then
    local confirmed = tonumber(ARGV[a + 6])
    local after = confirm(id, a + 7, confirmed)
    sent(id, after + 1, tonumber(ARGV[after]))
  elseif is.claim ~= '0' then
    redis.call('HSET', key, 'unsettled', '1')
  end
  local was = redis.call('HGETALL', key)
  if is.claim ~= '0' and not mine then
    redis.call('SREM', held_key(is.process), id)
    tell(is.process, 'C', id, is.claim)
  end
  -- Beyond all before, even of those that Redis has lost.
  local number = int(math.max(tonumber(redis.call('HGET', META, 'claims') or 0) + 1, MICRO))
  redis.call('HSET', META, 'claims', number)
  redis.call('SADD', held_key(ME), id)
  redis.call('HSET', key, 'claim', number, 'last', number, 'process', ME, 'front_end', front_end, 'expires', expires,
    'link', link, 'joined', '0')
  set_deadline(id, NOW + is.timeout, expires == '0')
  local empty_upto = redis.call('HEXISTS', OFFSETS, id) == 0 and int(position()) or 0
  return {1, number, was, redis.call('HGETALL', cursors_key(id)), empty_upto}
end

local function holds(id, number)
  return redis.call('HGET', client_key(id), 'claim') == number
end

-- Up to where mail may have been sent before this claim: id, claim, sent positions
function operations.settle(a)
  local id = ARGV[a]
  if holds(id, ARGV[a + 1]) then
    sent(id, a + 3, tonumber(ARGV[a + 2]))
    redis.call('HDEL', client_key(id), 'unsettled')
  end
  return {1}
end

-- A claim that was let go of although its process lives, or that the store has lost, goes on, unless the client was claimed since.
-- id, claim, front-end, expires, link. Returns whether it does.
function operations.resume(a)
  local id, number, expires = ARGV[a], ARGV[a + 1], ARGV[a + 3]
  local is = alive(id)
  if not is then return UNKNOWN end
  local key = client_key(id)
  if is.claim ~= '0' and is.process ~= ME then return {1, 0} end
  if tonumber(redis.call('HGET', key, 'last') or 0) > tonumber(number) then return {1, 0} end
  if tonumber(redis.call('HGET', META, 'claims') or 0) < tonumber(number) then redis.call('HSET', META, 'claims', number) end
  redis.call('SADD', held_key(ME), id)
  redis.call('HSET', key, 'claim', number, 'last', number, 'process', ME, 'front_end', ARGV[a + 2], 'expires', expires,
    'link', ARGV[a + 4], 'joined', '0')
  redis.call('HDEL', key, 'unsettled')
  set_deadline(id, is.deadline, expires == '0')
  return {1, 1}
end

-- id, claim, cursors
function operations.confirm(a)
  local id = ARGV[a]
  if holds(id, ARGV[a + 1]) then confirm(id, a + 3, tonumber(ARGV[a + 2])) end
  return {1}
end

-- id, claim, whether what its keeper confirms counts for it, the last change that its holder knows of, cursors
function operations.joined(a)
  local id = ARGV[a]
  if holds(id, ARGV[a + 1]) then
    confirm(id, a + 5, tonumber(ARGV[a + 4]))
    -- Not for a subscription that its holder does not know of yet.
    local knows = (redis.call('HGET', client_key(id), 'changes') or '0') == ARGV[a + 3]
    redis.call('HSET', client_key(id), 'joined', knows and ARGV[a + 2] or '0')
  end
  return {1}
end

-- id, claim, cursors, sent positions
function operations.release(a)
  local id, number = ARGV[a], ARGV[a + 1]
  if not holds(id, number) then return {1} end
  local key = client_key(id)
  local is = redis.call('HMGET', key, 'expires', 'deadline', 'timeout')
  local after = confirm(id, a + 3, tonumber(ARGV[a + 2]))
  sent(id, after + 1, tonumber(ARGV[after]))
  redis.call('SREM', held_key(ME), id)
  redis.call('HSET', key, 'claim', '0', 'process', '', 'front_end', '', 'expires', '1', 'joined', '0')
  set_deadline(id, is[1] == '0' and NOW + tonumber(is[3]) or tonumber(is[2]), false)
  return {1}
end

-- A process that is no more held clients: some of them are let go of, as far as its links' last known positions go.
-- process, most, links: each with a number of partitions, and for each the position. Returns how many are left.
function operations.bereave(a)
  local process, most, count = ARGV[a], tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  local links, at = {}, a + 3
  for _ = 1, count do
    local places = {}
    for index = at + 2, at + 2 * tonumber(ARGV[at + 1]), 2 do places[ARGV[index]] = ARGV[index + 1] end
    links[ARGV[at]] = places
    at = at + 2 + 2 * tonumber(ARGV[at + 1])
  end
  for _, id in ipairs(redis.call('SRANDMEMBER', held_key(process), most)) do
    redis.call('SREM', held_key(process), id)
    local key = client_key(id)
    local is = redis.call('HMGET', key, 'process', 'link', 'joined', 'expires', 'timeout', 'deadline')
    if is[1] == process then
      local places = is[3] == '1' and links[is[2]]
      if places then
        for _, field in ipairs(redis.call('HKEYS', cursors_key(id))) do
          local place = places[string.match(field, '%d+$')]
          local old, offset = string.match(redis.call('HGET', cursors_key(id), field), '^(%d+):(%d+)$')
          if place and tonumber(place) > tonumber(old) then
            redis.call('HSET', cursors_key(id), field, place .. ':' .. offset)
          end
        end
      end
      redis.call('HSET', key, 'claim', '0', 'process', '', 'front_end', '', 'expires', '1', 'joined', '0', 'unsettled', '1')
      set_deadline(id, is[4] == '0' and NOW + tonumber(is[5]) or tonumber(is[6]), false)
    end
  end
  return {1, redis.call('SCARD', held_key(process))}
end

-- Processes

-- A mark in the stream of what this process is told: all that came before it has been told.
function operations.sync(a)
  redis.call('SPUBLISH', control(ME), 'S' .. PART .. '\n' .. ARGV[a] .. '\n' .. int(position()))
  return {1}
end

-- To whom it may concern: process, text.
function operations.tell(a)
  return {1, redis.call('SPUBLISH', control(ARGV[a]), ARGV[a + 1])}
end

-- Events for watchers in other processes: how many, whose, events.
function operations.events(a)
  for index = a + 2, a + 1 + tonumber(ARGV[a]) do
    redis.call('SPUBLISH', B .. 'events', ARGV[a + 1] .. '\n' .. ARGV[index])
  end
  return {1}
end

-- This process lives: after so many seconds without a word one is dead; the kinds of events that it wants, one bit each. Returns
-- who is dead, what kinds others want, and whether this process was not known to live.
function operations.beat(a)
  local now, wanted = MICRO / 1000000, ARGV[a + 1]
  local silent = now - tonumber(ARGV[a])
  local new = redis.call('ZADD', B .. 'processes', num(now), ME)
  if wanted == '0' then redis.call('HDEL', B .. 'watchers', ME) else redis.call('HSET', B .. 'watchers', ME, num(now) .. ' ' .. wanted) end
  local others, all = 0, redis.call('HGETALL', B .. 'watchers')
  for index = 1, #all, 2 do
    local at, kinds = string.match(all[index + 1], '^(%S+) (%d+)$')
    if tonumber(at) < silent then redis.call('HDEL', B .. 'watchers', all[index])
    elseif all[index] ~= ME then others = bit.bor(others, tonumber(kinds)) end
  end
  return {1, redis.call('ZRANGEBYSCORE', B .. 'processes', '-inf', num(silent)), others, new}
end

function operations.ordinal(a)
  local ordinal = redis.call('HINCRBY', META, 'ordinals', 1) % tonumber(ARGV[a]) + 1
  redis.call('HSET', B .. 'ordinals', ordinal, ME)
  return {1, ordinal}
end

function operations.processes() return {1, redis.call('ZRANGE', B .. 'processes', 0, -1)} end

function operations.process_of(a)
  return {1, redis.call('HGET', B .. 'ordinals', ARGV[a]) or ''}
end

function operations.leave(a)
  local process = ARGV[a]
  redis.call('ZREM', B .. 'processes', process)
  redis.call('HDEL', B .. 'watchers', process)
  redis.call('DEL', B .. 'links:' .. process)
  return {1}
end

-- What the links of this process have confirmed: link, text. An empty text is the link's end.
function operations.progress(a)
  local key = B .. 'links:' .. ME
  if ARGV[a + 1] == '' then redis.call('HDEL', key, ARGV[a]) else redis.call('HSET', key, ARGV[a], ARGV[a + 1]) end
  return {1}
end

function operations.progress_of(a)
  return {1, redis.call('HGETALL', B .. 'links:' .. ARGV[a])}
end

-- Who does what has to be done once: milliseconds.
function operations.lease(a)
  local key = B .. 'lease'
  local owner = redis.call('GET', key)
  if owner and owner ~= ME then return {1, 0} end
  redis.call('SET', key, ME, 'PX', ARGV[a])
  return {1, 1}
end

-- Namespaces

function operations.reserve(a)
  local name = ARGV[a]
  if redis.call('EXISTS', client_key(name)) == 1 or redis.call('HEXISTS', DEAD, name) == 1 then return {0, 'TAKEN'} end
  if redis.call('SADD', NAMESPACES, name) == 0 then return {0, 'TAKEN'} end
  return {1}
end

function operations.free(a)
  local name = ARGV[a]
  if redis.call('SREM', NAMESPACES, name) == 1 then return {1} end
  return {0, alive(name) and 'IN_USE' or 'UNKNOWN'}
end

-- Looking inside

local function page(key, a)
  local after = ARGV[a] == '' and '-' or '(' .. ARGV[a]
  return redis.call('ZRANGEBYLEX', key, after, '+', 'LIMIT', 0, ARGV[a + 1])
end

function operations.clients(a) return {1, page(CLIENTS, a)} end
function operations.is_member(a)
  return {1, redis.call('ZSCORE', B .. 'members:' .. ARGV[a], ARGV[a + 1]) and 1 or 0}
end
function operations.patterns(a) return {1, page(PATTERNS, a)} end
function operations.members(a) return {1, page(B .. 'members:' .. ARGV[a], a + 1)} end

-- Which of these clients are alive.
function operations.alive(a)
  local found = {}
  for index = 1, tonumber(ARGV[a]) do found[index] = alive(ARGV[a + index]) and 1 or 0 end
  return {1, found}
end

-- Of each log: its subscribers, messages and bytes.
function operations.logs(a)
  local found = {}
  for index = 1, tonumber(ARGV[a]) do
    local log = ARGV[a + index]
    local count = redis.call('HGET', COUNTS, log)
    found[index] = {count and tonumber(string.match(count, '%d+$')) or 0, redis.call('XLEN', log_key(log)),
      tonumber(redis.call('HGET', BYTES, log) or 0)}
  end
  return {1, found}
end

-- How far the partition is.
function operations.hello(a)
  return {1, int(position())}
end

-- A log that was dropped though somebody read it has begun anew: one message is missing for all.
function operations.go_on(a)
  redis.call('HINCRBY', OFFSETS, ARGV[a], 1)
  redis.call('HSET', CUTS, ARGV[a], next_place())
  return {1}
end

-- Mail up to a place had been told of, and logs up to these offsets: what is missing of that was lost, and readers are to notice.
-- Returns in how many logs that is so.
function operations.lost(a)
  local place, count, noted = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), 0
  if place > position() then redis.call('HSET', META, 'position', int(place)) end
  for index = a + 2, a + 2 * count, 2 do
    local log, offset = ARGV[index], tonumber(ARGV[index + 1])
    local is_read = redis.call('HEXISTS', COUNTS, log) == 1 or redis.call('EXISTS', client_key(log)) == 1
    if is_read and tonumber(redis.call('HGET', OFFSETS, log) or 0) < offset then
      redis.call('HSET', OFFSETS, log, int(offset))
      redis.call('HSET', CUTS, log, int(place))
      noted = noted + 1
    end
  end
  return {1, noted}
end

-- Whether this partition knows of a layout: version, partitions. Sets it where it is new.
function operations.layout(a)
  local key = META
  local known = redis.call('HMGET', key, 'layout', 'partitions')
  if known[1] then return {1, known[1], known[2]} end
  if redis.call('EXISTS', key) == 1 then return {1, '', ''} end
  redis.call('HSET', key, 'layout', ARGV[a], 'partitions', ARGV[a + 1])
  return {1, ARGV[a], ARGV[a + 1]}
end

-- A store that has lost everything is told again what it was: version, partitions, the caller's ordinal.
function operations.remind(a)
  local ordinal = tonumber(ARGV[a + 2])
  redis.call('HSETNX', META, 'layout', ARGV[a])
  redis.call('HSETNX', META, 'partitions', ARGV[a + 1])
  if tonumber(redis.call('HGET', META, 'ordinals') or 0) < ordinal then redis.call('HSET', META, 'ordinals', ordinal) end
  redis.call('HSETNX', B .. 'ordinals', ordinal, ME)
  return {1}
end

-- Another server than before, after a failover or a restart, may lack the youngest of what was answered and told. For some time it
-- does nothing but hear what each process knows of that: else what comes next would take the places of what is missing, and
-- nobody could tell. Returns how many microseconds that still takes.
local SETTLES = 1000000

local function unsettled()
  local is = redis.call('HMGET', META, 'server', 'settling', 'since')
  if SERVER == '' or is[1] == SERVER then return 0 end
  if not is[1] then
    if redis.call('EXISTS', META) == 1 then redis.call('HSET', META, 'server', SERVER) end
    return 0
  end
  if is[2] ~= SERVER then
    redis.call('HSET', META, 'settling', SERVER, 'since', int(MICRO))
    return SETTLES
  end
  local left = tonumber(is[3]) + SETTLES - MICRO
  if left > 0 then return left end
  redis.call('HSET', META, 'server', SERVER)
  redis.call('HDEL', META, 'settling', 'since')
  return 0
end

local left = unsettled()
if left > 0 and ARGV[5] ~= 'lost' then return {left} end

local results, at = {0}, 5
while at <= #ARGV do
  local operation, count = operations[ARGV[at]], tonumber(ARGV[at + 1])
  results[#results + 1] = operation(at + 2)
  at = at + 2 + count
end
local held = redis.call('HMGET', META, 'bytes', 'messages', 'subscriptions')
results[1] = {held[1] or '0', held[2] or '0', held[3] or '0', redis.call('ZCARD', CLIENTS), redis.call('ZCARD', PATTERNS),
  redis.call('SCARD', NAMESPACES), redis.call('HLEN', KEYS_SEEN)}
return results
