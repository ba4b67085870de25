-- Reading logs, and counting what a reader has yet to read.

-- How many messages between `from` and `upto` a reader has lost that began after `offset`, the sequence of the youngest, and the offset
-- up to which all are gone. `announced` is the offset of the last message up to `upto`, -1 if that is not known: a log may have been
-- trimmed further than its reader was notified.
local function lost(state, from, offset, upto, announced)
  local cuts, holes, count, youngest, began = state.cuts, state.holes, 0, 0, offset
  local known, gone, last = math.max(offset, state.begin), 0, 0
  for index = 1, #cuts, 2 do
    if cuts[index] > upto then
      if announced > gone then last, gone = upto, math.min(announced, cuts[#cuts]) end
      break
    end
    last, gone = cuts[index], cuts[index + 1]
    if last <= from then known = math.max(known, gone) end
  end
  if last > from and gone > known then count, youngest, offset = gone - known, last, gone end
  for index = 1, #holes, 4 do
    local sequence, before, final, unused = unpack(holes, index, index + 3)
    if sequence > math.max(from, last) then
      -- A reader may have got some of them.
      local missing = unused > 0 and began <= before and 1 or math.max(final - math.max(began, before), 0)
      if missing > 0 and sequence <= upto then count, youngest = count + missing, sequence end
    elseif unused > 0 and last > from and known <= before and gone >= final then
      count = count - math.min(unused, final - 1 - known)
    end
  end
  return count, youngest, offset
end

-- The logs that hold something between where a reader is in each and a sequence: their indices, the oldest first; the sequence before
-- which each has nothing unread; and how many unread messages each may have.
local function unread(a, names, upto)
  local oldest, many, indices = {}, {}, {}
  for index, log in ipairs(names) do
    local state, from, offset = state_of(log), tonumber(ARGV[a + 2 + 4 * index]), tonumber(ARGV[a + 3 + 4 * index])
    -- Beyond the end: the server has lost messages, and nobody noticed.
    local count = state and (offset > state.offset and state.n or math.min(state.n, state.offset - offset)) or 0
    if count > 0 and state.last > from and upto > from then
      oldest[index], many[index] = math.max(state.first, from + 1), count
      indices[#indices + 1] = index
    end
  end
  table.sort(indices, function(one, other) return oldest[one] < oldest[other] end)
  return indices, oldest, many
end

-- How many messages of a log one call reads at most, so that it reads so many in all: what others leave of their share is for those with
-- more.
local function fair_share(many, indices, most)
  local counts, left = {}, most
  for number, index in ipairs(indices) do counts[number] = many[index] end
  table.sort(counts)
  for number, count in ipairs(counts) do
    local share = left / (#counts - number + 1)
    if count > share then return math.max(2, math.floor(share)) end
    left = left - count
  end
  return most
end

-- Sort messages and keep the first: at most so many messages and bytes, but so many whatever their size. Returns how many that are, and
-- the sequence up to which they are all; nil if nothing has to go.
local function fitting(order, found, most, room, least)
  table.sort(order)
  for number, sequence in ipairs(order) do
    local size = #found[sequence][3] + OVERHEAD
    if number > most or (number > least and size > room) then return number - 1, order[number - 1] or sequence - 1 end
    room = room - size
  end
  return #order
end

-- Read: at most so many messages and bytes, but so many (0 or 1) whatever their size, up to a sequence or "" for all, then logs: name,
-- the sequence and offset that each was read to, and the offset of its last message up to that sequence, -1 if unknown. Returns the
-- sequence that all of them were read to, whether there is more, what logs have lost (the log's index, how many, the sequence of the
-- youngest, the offset up to which all are gone), and the messages: id, time, message, then index and offset of each log that has it.
function operations.read(a)
  local most, room, least = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  local upto, count = ARGV[a + 3], tonumber(ARGV[a + 4])
  upto = upto ~= '' and tonumber(upto) or meta.sequence
  local names = {}
  for index = 1, count do names[index] = ARGV[a + 1 + 4 * index] end
  states_of(names)
  local reached, found, order, bytes = upto, {}, {}, 0
  local indices, oldest, many = unread(a, names, upto)
  local each, enough = math.min(most + 1, fair_share(many, indices, WORK)), math.max(2 * room, WORK_BYTES / 4)
  for _, index in ipairs(indices) do
    -- What lies beyond is not returned, whatever this log has, and the logs that come next.
    if oldest[index] > reached then break end
    local state, from = state_of(names[index]), tonumber(ARGV[a + 2 + 4 * index])
    local size = math.max((state.total - state.gone) / state.n, 1)
    local limit = math.max(2, math.min(each, many[index] + 1, math.floor(2 * room / size) + 2))
    local entries = redis.call('XRANGE', log_key(names[index]), int(from + 1), int(reached), 'COUNT', limit)
    for _, entry in ipairs(entries) do
      local sequence, offset = parsed(entry[1])
      local one = found[sequence]
      if not one then
        one = {entry[1], entry[2][4], entry[2][6]}
        found[sequence] = one
        order[#order + 1] = sequence
        bytes = bytes + #one[3] + OVERHEAD
      end
      one[#one + 1] = index
      one[#one + 1] = int(offset)
    end
    if #entries == limit then reached = math.min(reached, (parsed(entries[limit][1]))) end
    if bytes > enough then
      local kept, last = fitting(order, found, most, room, least)
      if last and order[kept + 1] <= reached then reached = last end
      bytes = 0
      for number = #order, 1, -1 do
        if number > kept then
          found[order[number]] = nil
          order[number] = nil
        else
          bytes = bytes + #found[order[number]][3] + OVERHEAD
        end
      end
    end
  end
  local kept, last = fitting(order, found, most, room, least)
  local messages = {}
  for number = 1, kept do
    if order[number] > reached then break end
    messages[number] = found[order[number]]
  end
  if last and order[kept + 1] <= reached then reached = last end
  local losses = {}
  for index, log in ipairs(names) do
    local state = state_of(log)
    if state then
      local at = a + 2 + 4 * index
      local announced = reached == upto and tonumber(ARGV[at + 2]) or -1
      local missing, youngest, gone = lost(state, tonumber(ARGV[at]), tonumber(ARGV[at + 1]), reached, announced)
      if missing > 0 then losses[#losses + 1] = {index, int(missing), int(youngest), int(gone)} end
    end
  end
  return {1, int(reached), reached < upto and 1 or 0, losses, messages}
end

-- How many messages logs hold beyond a reader; each counts once if there are at most `exact`: exact, how many logs, name and sequence
-- of each.
function operations.pending(a)
  local exact, count = tonumber(ARGV[a]), tonumber(ARGV[a + 1])
  local names, together, bytes, behind = {}, 0, 0, {}
  for index = 1, count do
    names[index] = ARGV[a + 2 * index]
    seen = seen + #names[index]
  end
  states_of(names)
  for index = 1, count do
    local log, from = ARGV[a + 2 * index], tonumber(ARGV[a + 1 + 2 * index])
    local state = state_of(log)
    if state and state.n > 0 and state.last > from then
      local more = state.n
      if state.first <= from then
        local first = redis.call('XRANGE', log_key(log), int(from + 1), '+', 'COUNT', 1)[1]
        local _, offset = parsed(first[1])
        more = state.offset - offset + 1
      end
      together, bytes = together + more, bytes + (state.total - state.gone) * more / state.n
      behind[#behind + 1] = {log, from}
    end
  end
  if #behind < 2 or together > exact or bytes > WORK_BYTES then return {1, int(together)} end
  local seen, different = {}, 0
  for _, one in ipairs(behind) do
    for _, entry in ipairs(redis.call('XRANGE', log_key(one[1]), int(one[2] + 1), '+')) do
      local sequence = parsed(entry[1])
      if not seen[sequence] then
        seen[sequence] = true
        different = different + 1
      end
    end
  end
  return {1, different}
end
