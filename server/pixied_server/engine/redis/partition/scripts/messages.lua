-- Messages: publishing and queueing, each at most once for an idempotency key.

-- A key's value is a message's fingerprint and, once the message was published or queued, the outcome. Returns the outcome; or nil, and
-- the refusal if the key can't stand for a message with this fingerprint.
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

local function announcement(kind, sequence, names, blob)
  return table.concat({kind .. PART, int(sequence), string.format('%.3f', NOW), names, blob}, '\n')
end

-- key or "", fingerprint, whether there is room for a new key, bounds of a log (messages, bytes), message, how many patterns its channel
-- matches, patterns. Returns how many subscriptions matched, whether the key was known, the message's sequence, and for each log that
-- has it the log and the offset.
function operations.publish(a)
  local key, fingerprint = ARGV[a], ARGV[a + 1]
  local known, refusal = done_before(key, fingerprint, ARGV[a + 2])
  if refusal then return refusal end
  if known then return {1, known, 1, '0'} end
  local most, largest, blob, count = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]), ARGV[a + 5], tonumber(ARGV[a + 6])
  local patterns = {}
  for index = 1, count do patterns[index] = ARGV[a + 6 + index] end
  states_of(patterns)
  local matched, logs, names, answer, sequence = 0, {}, {}, {1, 0, 0, '0'}, nil
  for _, pattern in ipairs(patterns) do
    local state = state_of(pattern)
    if state and state.subscribers > 0 then
      sequence = sequence or next_sequence()
      matched = matched + state.subscribers
      append(pattern, sequence, blob)
      logs[#logs + 1] = pattern
      names[#names + 1] = pattern .. '\t' .. int(state.offset)
      answer[#answer + 1] = pattern
      answer[#answer + 1] = int(state.offset)
    end
  end
  if sequence then
    local announced = announcement('M', sequence, table.concat(names, '\t'), blob)
    for _, log in ipairs(logs) do redis.call('SPUBLISH', B .. 'messages:' .. log, announced) end
    for _, log in ipairs(logs) do keep_within(log, state_of(log), most, largest) end
    answer[4] = int(sequence)
  end
  answer[2] = matched
  remember(key, fingerprint, matched)
  return answer
end

-- id, key or "", fingerprint, whether there is room for a new key, bounds of a log, message. Returns whether the key was known, the
-- message's sequence and its offset.
function operations.queue(a)
  local id, key, fingerprint = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  local is = alive(id)
  if not is then return UNKNOWN end
  local known, refusal = done_before(key, fingerprint, ARGV[a + 3])
  if refusal then return refusal end
  if known then return {1, 1, '0', '0'} end
  if not state_of(id) then begin_log(id, 0, 0, 0) end
  local sequence = next_sequence()
  local state = append(id, sequence, ARGV[a + 6])
  notify(is.process, announcement('I', sequence, id .. '\t' .. int(state.offset), ARGV[a + 6]))
  keep_within(id, state, tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5]))
  remember(key, fingerprint, 1)
  return {1, 0, int(sequence), int(state.offset)}
end

-- key, fingerprint, whether there is room for a new key. Reserves the key of one of several messages that are published or queued all or
-- none. Returns whether the key was known.
function operations.reserve_key(a)
  local key, fingerprint = ARGV[a], ARGV[a + 1]
  local _, refusal = done_before(key, fingerprint, ARGV[a + 2])
  if refusal then return refusal end
  if redis.call('HSETNX', KEYS_SEEN, key, fingerprint) == 0 then return {1, 1} end
  redis.call('ZADD', KEYS_AGE, num(NOW), key)
  return {1, 0}
end

-- key. Frees a reserved key, unless its message was published or queued meanwhile.
function operations.free_key(a)
  local known = redis.call('HGET', KEYS_SEEN, ARGV[a])
  if known and not string.find(known, ' ', 1, true) then
    redis.call('HDEL', KEYS_SEEN, ARGV[a])
    redis.call('ZREM', KEYS_AGE, ARGV[a])
  end
  return {1}
end

-- age in seconds, most. Forgets keys that are older. Returns how many.
function operations.forget_keys(a)
  local old = redis.call('ZRANGEBYSCORE', KEYS_AGE, '-inf', num(NOW - tonumber(ARGV[a])), 'LIMIT', 0, ARGV[a + 1])
  for _, member in ipairs(old) do
    redis.call('HDEL', KEYS_SEEN, member)
    redis.call('ZREM', KEYS_AGE, member)
  end
  return {1, #old}
end
