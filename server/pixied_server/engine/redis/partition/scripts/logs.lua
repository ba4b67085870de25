-- Logs: the messages of one subscribed pattern, or of one client's inbox, in order. The stream has the messages; the hash `logs` has
-- the log's state, packed, so that appending and trimming take a few commands however large the log is.

-- A log's state:
--   offset       of its last message; trimmed messages are counted
--   begin        no reader has lost messages before this offset: where a pattern's log began, or how far an inbox is confirmed
--   first, last  sequences of its oldest and of its youngest message
--   n            how many messages it has
--   total, gone  bytes that were ever appended, and how many of them are gone
--   subscribers, version   of its pattern
--   cuts         the last few trims: sequence and offset of the youngest message that went
--   holes        messages that Redis lost, four numbers each: a sequence that all of them came before, the offsets before the first and
--                of the last, and how many offsets no message had: not 0 where the log had begun anew (see `lost`)

local states, touched = {}, {}

local function unpacked(packed)
  local is = cmsgpack.unpack(packed)
  return {offset = is[1], first = is[2], last = is[3], n = is[4], total = is[5], gone = is[6], subscribers = is[7], version = is[8],
    cuts = is[9], holes = is[10], begin = is[11]}
end

local function state_of(log)
  local state = states[log]
  if state == nil then
    local packed = redis.call('HGET', LOGS, log)
    state = packed and unpacked(packed) or false
    states[log] = state
  end
  return state
end

local function states_of(logs)
  local missing = {}
  for _, log in ipairs(logs) do if states[log] == nil then missing[#missing + 1] = log end end
  if #missing > 0 then
    local packed = redis.call('HMGET', LOGS, unpack(missing))
    for index, log in ipairs(missing) do states[log] = packed[index] and unpacked(packed[index]) or false end
  end
end

local function touch(log) touched[log] = true end

local function write_states()
  local words = {}
  for log in pairs(touched) do
    local is = states[log]
    if is then
      words[#words + 1] = log
      words[#words + 1] = cmsgpack.pack({is.offset, is.first, is.last, is.n, is.total, is.gone, is.subscribers, is.version, is.cuts,
        is.holes, is.begin})
    else
      redis.call('HDEL', LOGS, log)
    end
    if #words >= 1000 then
      redis.call('HSET', LOGS, unpack(words))
      words = {}
    end
  end
  if #words > 0 then redis.call('HSET', LOGS, unpack(words)) end
end

local function note_hole(state, sequence, before, final, unused)
  local holes = state.holes
  for _, number in ipairs({sequence, before, final, unused}) do holes[#holes + 1] = number end
end

local function hold(bytes, messages)
  set_meta('bytes', meta.bytes + bytes)
  set_meta('messages', meta.messages + messages)
end

-- A pattern's log begins at a sequence, beyond all offsets of an earlier log of the same pattern; an inbox begins at 0.
local function begin_log(log, subscribers, version, begin)
  local sequence = next_sequence()
  begin = begin or sequence
  local state = {offset = begin, first = 0, last = sequence, n = 0, total = 0, gone = 0, subscribers = subscribers, version = version,
    cuts = {}, holes = {}, begin = begin}
  states[log] = state
  touch(log)
  return state
end

local function drop_log(log)
  local state = state_of(log)
  if not state then return end
  if state.n > 0 then
    redis.call('UNLINK', log_key(log))
    redis.call('ZREM', AGES, log)
    hold(state.gone - state.total, -state.n)
  end
  states[log] = false
  touch(log)
end

local function append(log, sequence, blob)
  local state = state_of(log)
  local size = math.ceil(#blob * WASTE) + ENTRY
  state.offset = state.offset + 1
  state.total = state.total + size
  state.last = sequence
  state.n = state.n + 1
  redis.call('XADD', log_key(log), int(sequence) .. '-' .. int(state.offset), 'c', state.total, 'a', string.format('%.3f', NOW), 'b',
    blob)
  if state.n == 1 then
    state.first = sequence
    redis.call('ZADD', AGES, sequence, log)
  end
  hold(size, 1)
  touch(log)
  return state
end

-- Trimming

-- One trim reads at most so many messages.
local MOST = 100

-- Note a trim. Older notes are thinned out: a reader from before one may be told that it lost more than it did, never less.
local function note_cut(state, sequence, offset)
  local cuts = state.cuts
  cuts[#cuts + 1] = sequence
  cuts[#cuts + 1] = offset
  if #cuts > 32 then
    local kept = {}
    for index = 1, #cuts, 2 do
      if index % 4 == 1 or index > #cuts - 8 then
        kept[#kept + 1] = cuts[index]
        kept[#kept + 1] = cuts[index + 1]
      end
    end
    state.cuts = kept
  end
  local holes = state.holes
  state.holes = {}
  for index = 1, #holes, 4 do
    local at, before, final, unused = unpack(holes, index, index + 3)
    -- Offsets count messages, but for the unused ones: these are kept as long as the log.
    if at > sequence or unused > 0 then note_hole(state, at, before, final, unused) end
  end
end

-- Update the state of a trimmed log: it begins with this entry now, or is empty. Returns how many bytes went.
local function begins_with(log, state, entry, left)
  local was, freed = state.first, 0
  if entry then
    local gone = tonumber(entry[2][2]) - math.ceil(#entry[2][6] * WASTE) - ENTRY
    freed, state.gone = gone - state.gone, gone
    state.first = parsed(entry[1])
    if state.first ~= was then redis.call('ZADD', AGES, state.first, log) end
  else
    freed, state.gone = state.total - state.gone, state.total
    redis.call('ZREM', AGES, log)
  end
  hold(-freed, left - state.n)
  state.n = left
  touch(log)
  return freed
end

-- Take away the oldest messages as long as `goes` says so, at most so many, and as many as one call may read. Returns how many, their
-- bytes, the sequence of the youngest, and how much work that was.
local function trim(log, state, goes, most)
  local size = math.max((state.total - state.gone) / math.max(state.n, 1), 1)
  most = math.max(2, math.min(most, math.floor(WORK_BYTES / size)))
  local entries = redis.call('XRANGE', log_key(log), '-', '+', 'COUNT', most)
  local dropped, sequence, offset, work = 0, 0, 0, 10
  for _, entry in ipairs(entries) do work = work + #entry[2][6] * WORK / WORK_BYTES end
  for _, entry in ipairs(entries) do
    local place, at = parsed(entry[1])
    if not goes(place, tonumber(entry[2][2]), tonumber(entry[2][4]), dropped) then break end
    dropped, sequence, offset = dropped + 1, place, at
  end
  if dropped == 0 then return 0, 0, 0, work end
  local left = state.n - dropped
  local first = entries[dropped + 1]
  if left > 0 then
    redis.call('XTRIM', log_key(log), 'MINID', int(sequence) .. '-' .. int(offset + 1))
    if not first then first = redis.call('XRANGE', log_key(log), '-', '+', 'COUNT', 1)[1] end
  else
    redis.call('UNLINK', log_key(log))
  end
  local freed = begins_with(log, state, first, left)
  note_cut(state, sequence, offset)
  return dropped, freed, sequence, work + dropped
end

-- Trim a log to its bounds, and a little more, so that not every message causes a trim.
local function keep_within(log, state, most, largest)
  local few, small = FOREVER, FOREVER
  if state.n > most then few = most - math.min(50, math.floor(most / 64)) end
  if state.total - state.gone > largest then small = largest - math.min(WORK_BYTES, math.floor(largest / 64)) end
  if few == FOREVER and small == FOREVER then return end
  for _ = 1, WORK / 100 do
    local gone = state.gone
    local dropped = trim(log, state, function(_, cumulative, _, count)
      local goes = state.n - count > few or state.total - gone > small
      gone = cumulative
      return goes
    end, MOST)
    if dropped == 0 or state.n == 0 then return end
  end
end

-- Trim confirmed messages of an inbox: they do not count as lost. Returns whether there are more of them than one call takes away.
local function forget(log, upto)
  local state = state_of(log)
  if not state or state.n == 0 or state.first > upto then return false end
  if state.last <= upto then
    redis.call('UNLINK', log_key(log))
    begins_with(log, state, nil, 0)
    state.begin = state.offset
    return false
  end
  local more = redis.call('XTRIM', log_key(log), 'MINID', '~', int(upto + 1), 'LIMIT', WORK) > WORK - 150
  if not more then redis.call('XTRIM', log_key(log), 'MINID', int(upto + 1)) end
  local first = redis.call('XRANGE', log_key(log), '-', '+', 'COUNT', 1)[1]
  begins_with(log, state, first, redis.call('XLEN', log_key(log)))
  local _, offset = parsed(first[1])
  state.begin = offset - 1
  return more
end

-- The log with the oldest message of all, its state, and that message's sequence.
local function oldest_of_all()
  local first = redis.call('ZRANGE', AGES, 0, 0, 'WITHSCORES')
  if #first == 0 then return end
  return first[1], state_of(first[1]), tonumber(first[2])
end

-- How many messages to read of a log that has the oldest: where each of many logs has one that goes, the others are read in vain.
local function how_many(log, before, many) return log == before and math.min(MOST, 4 * many) or 4 end

-- age in seconds, work. Take away messages that are older, until the call took long enough. Returns whether there may be more.
function operations.sweep(a)
  local oldest, most, work, before, many = NOW - tonumber(ARGV[a]), tonumber(ARGV[a + 1]), 0, nil, 0
  while work < most do
    local log, state = oldest_of_all()
    if not log then return {1, 0} end
    many, before = how_many(log, before, many), log
    local gone, _, _, did = trim(log, state, function(_, _, at) return at < oldest end, many)
    if gone == 0 then return {1, 0} end
    work = work + did
  end
  return {1, 1}
end

-- bytes, sequence. Take away the oldest messages until so many bytes are free, or the next is beyond the sequence, or the call took
-- long enough. Returns how many bytes are free now, and the sequence of the oldest message that is left or "".
function operations.shrink(a)
  local bytes, upto, freed, work, horizon = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), 0, 0, 0
  local one, many = nil, 0
  while work < WORK do
    local log, state, first = oldest_of_all()
    -- A message goes from all of its logs: a reader that has got it through one would be told that another has lost it.
    if not log or first > upto or (freed >= bytes and first > horizon) then break end
    local before = state.gone
    many, one = how_many(log, one, many), log
    local dropped, gone, last, did = trim(log, state, function(sequence, cumulative, _, count)
      return sequence <= upto and (sequence <= horizon or freed < bytes and (count == 0 or freed + cumulative - before <= bytes))
    end, many)
    freed, work, horizon = freed + gone, work + did, math.max(horizon, last)
  end
  local log, _, first = oldest_of_all()
  return {1, int(freed), log and int(first) or ''}
end

-- how many, logs. Returns each one's subscribers, messages and bytes.
function operations.logs(a)
  local found = {}
  for index = 1, tonumber(ARGV[a]) do
    local state = state_of(ARGV[a + index])
    found[index] = state and {state.subscribers, state.n, int(state.total - state.gone)} or {0, 0, 0}
  end
  return {1, found}
end

-- sequence, how many, logs: each with an offset. Messages up to the sequence were announced, and those of logs up to the offsets. Note
-- missing ones as lost. Returns how many logs have lost messages.
-- A pattern's log begins at a sequence, so an offset beyond all sequences that the server had when it took over may be that of a log
-- that began anew since. It is, if more messages are missing than there were sequences since. Who subscribed to that log knows how many
-- messages it had; for all others they count as one.
function operations.lost(a)
  local sequence, count, noted = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), 0
  local recovered = tonumber(redis.call('HGET', META, 'recovered') or meta.sequence)
  if sequence > meta.sequence then set_meta('sequence', sequence) end
  for index = a + 2, a + 2 * count, 2 do
    local log, offset = ARGV[index], tonumber(ARGV[index + 1])
    local state = state_of(log)
    if not state and redis.call('EXISTS', client_key(log)) == 1 then state = begin_log(log, 0, 0, 0) end
    if state and state.offset < offset then
      if offset > recovered and offset - state.offset > sequence - recovered then
        note_hole(state, sequence, recovered, offset, offset - state.offset - 1)
      else
        note_hole(state, sequence, state.offset, offset, 0)
      end
      state.offset = offset
      touch(log)
      noted = noted + 1
    end
  end
  return {1, noted}
end

-- log. It was dropped although it had readers, and has begun anew: note an unknown number of lost messages as one.
function operations.revived(a)
  local state = state_of(ARGV[a])
  if state then
    note_hole(state, next_sequence(), state.offset, state.offset + 1, 0)
    state.offset = state.offset + 1
    touch(ARGV[a])
  end
  return {1}
end
