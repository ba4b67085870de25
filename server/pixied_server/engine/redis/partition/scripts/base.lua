-- What all operations of a partition share. The files of this folder are one script: this one, the operations by subject, and
-- `run.lua`, which executes a list of operations, each wholly or not at all.
--
-- KEYS[1]  <base>meta; KEYS[2] <base>absent, which never exists, so that a cluster answers TRYAGAIN while the slot migrates
-- ARGV     the server's run id; the time (see below); the caller's process; the partition's number;
--          then operations: name, number of arguments, arguments
-- returns  {what the partition holds, the time, the clock's skew}, then each operation's result: {1, ...} or {0, code, ...}; of the
--          first operations only, where these were much work: ask again for the others.
--          Or {microseconds}: nothing was done, ask again after that time
--
-- Keys, each after <base>:
--   meta               hash    sums, counters, the layout, which server process the partition was last served by, and `generation`: how
--                              often that has changed; when sessions were ended last, and a pause of that (see below)
--   client:<id>        hash    times, attributes, ownership, progress, sent, cursors and the highest of them, cap, the generation
--                              in which it was created or last released
--   subscriptions:<id> hash    pattern -> where it begins: "partition:sequence:offset,..."
--   log:<pattern>      stream  a log; log:<id> is a client's inbox. Ids are sequence-offset; fields: c (bytes of the log up to and
--                              with this entry), a (when), b (the message)
--   logs               hash    log or inbox -> its state, packed (see `logs.lua`)
--   ages               zset    logs by the sequence of their oldest message
--   members:<pattern>  zset    the clients that subscribe
--   joins              zset    "pattern\0id" by time: members whose records may not have the subscription yet, and wildcards' members whose
--                              end may not be known in all partitions
--   leaving            hash    client -> time and patterns that may still have it as a member
--   clients, patterns  zset    for lists; deadlines: sessions that run out
--   keys, keys-age             idempotency keys: hash, and zset by time
--   owned:<process>    set     clients that a process owns; links:<process> hash of its links' checkpoints
--   processes, watchers, lease, namespaces

local B = string.sub(KEYS[1], 1, -5)
local SERVER, ME, PART = ARGV[1], ARGV[3], ARGV[4]
local META = B .. 'meta'
local DEADLINES, CLIENTS, LEAVING = B .. 'deadlines', B .. 'clients', B .. 'leaving'
local PATTERNS, JOINS = B .. 'patterns', B .. 'joins'
local LOGS, AGES = B .. 'logs', B .. 'ages'
local KEYS_SEEN, KEYS_AGE = B .. 'keys', B .. 'keys-age'
local NAMESPACES = B .. 'namespaces'
local FOREVER = 9007199254740991

-- One call reads at most so many stored messages, or about a megabyte of them.
local WORK, WORK_BYTES = 500, 1000000
-- The operations of one call go on until they have looked at so many bytes of records.
local RECORDS, seen = 1000000, 0
-- What a message takes in a stream besides its own bytes, measured from 10 bytes to 100 KB: 45 bytes, and 15 % that jemalloc and
-- half-full nodes waste.
local ENTRY, WASTE = 45, 1.15
-- What a message takes in a process besides its own bytes: reads count that.
local OVERHEAD = 320

local function num(value) return string.format('%.17g', value) end
local function int(value) return string.format('%.0f', value) end
local function client_key(id) return B .. 'client:' .. id end
local function subscriptions_key(id) return B .. 'subscriptions:' .. id end
local function channel(process) return B .. 'process:' .. process end
local function owned_key(process) return B .. 'owned:' .. process end
local function members_key(pattern) return B .. 'members:' .. pattern end
local function log_key(log) return B .. 'log:' .. log end

-- Read at the start of a call and written at its end, however many operations are in it.
local meta, agreed_by = {}, nil
do
  local names = {'sequence', 'bytes', 'messages', 'subscriptions', 'skew', 'agreed', 'generation', 'swept', 'paused', 'heard', 'agreed_by'}
  local values = redis.call('HMGET', META, unpack(names))
  for index, name in ipairs(names) do meta[name] = tonumber(values[index]) or 0 end
  agreed_by = values[#values]
end
local changed = {}
local function set_meta(name, value)
  meta[name] = value
  changed[name] = true
end

-- Time is elapsed time. The server's wall clock may jump; `skew` corrects that. "~T": the caller expects about T, by a clock that
-- does not jump. Where the two differ T counts, unless another process has agreed with the server's clock a moment ago. "=T" sets
-- the time (for tests), "" leaves it to the server.
local WALL = redis.call('TIME')
local MICRO = WALL[1] * 1000000 + WALL[2]
local CLOCK = MICRO / 1000000 + meta.skew
local NOW = CLOCK

-- Whether another process found the server's clock right a moment ago, although the caller expects another time.
local function others_agree(expected)
  local away = math.abs(CLOCK - meta.agreed)
  return agreed_by and agreed_by ~= ME and away < 3 and away < math.abs(expected - meta.agreed)
end

do
  local kind, expected = string.sub(ARGV[2], 1, 1), tonumber(string.sub(ARGV[2], 2))
  if kind == '=' then
    NOW, CLOCK = expected, expected
  elseif kind == '~' and not (math.abs(CLOCK - expected) > 1 and others_agree(expected)) then
    NOW = math.max(expected - 0.05, math.min(CLOCK, expected + 0.25))
  end
end

-- Sessions are over by this time. Where nobody has ended any for PAUSE seconds, because the store or all processes were away, it stays
-- behind until GRACE seconds later: who wanted to prolong a session meanwhile is heard first.
local PAUSE, GRACE = 4, 5
local JUDGED, pauses = NOW, false
if string.sub(ARGV[2], 1, 1) ~= '=' then
  pauses = meta.swept > 0 and NOW > meta.swept + PAUSE
  if NOW < meta.heard and meta.heard <= NOW + GRACE then JUDGED = meta.paused elseif pauses then JUDGED = meta.swept end
end

-- A message's sequence is the time in microseconds, and always higher than the one before. So no sequence is used twice when Redis
-- has lost the youngest messages.
local function next_sequence()
  set_meta('sequence', math.max(meta.sequence + 1, MICRO))
  return meta.sequence
end

local function parsed(id)
  local sequence, offset = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(sequence), tonumber(offset)
end

-- Progress: "partition:sequence,..."
local function progress_of(text)
  local progress = {}
  for part, sequence in string.gmatch(text or '', '(%d+):(%d+)') do progress[part] = tonumber(sequence) end
  return progress
end

local function text_of(progress)
  local words = {}
  for part, sequence in pairs(progress) do words[#words + 1] = part .. ':' .. int(sequence) end
  return table.concat(words, ',')
end

local function notify(process, ...)
  if process and process ~= '' then redis.call('SPUBLISH', channel(process), table.concat({...}, '\n')) end
end

-- A hash, whose size counts.
local function whole(key)
  local fields = redis.call('HGETALL', key)
  for _, word in ipairs(fields) do seen = seen + #word end
  return fields
end

local UNKNOWN = {0, 'UNKNOWN'}
local operations = {}
