-- Ownership: which process owns a client, and how far the client's messages have come.

-- Move a client's progress forward, but not beyond the begin of a subscription that its owner does not know of: id, progress, the last
-- change that the owner knows of. Returns whether its inbox has more confirmed messages than one call takes away.
local function advance(id, text, knows)
  local key = client_key(id)
  local is = redis.call('HMGET', key, 'progress', 'changes', 'cap')
  local cap = progress_of(is[3])
  if next(cap) and tonumber(knows) >= tonumber(is[2] or 0) then
    redis.call('HDEL', key, 'cap')
    cap = {}
  end
  local progress, moved = progress_of(is[1]), false
  for part, sequence in string.gmatch(text, '(%d+):(%d+)') do
    sequence = math.min(tonumber(sequence), cap[part] or FOREVER)
    if sequence > (progress[part] or 0) then
      progress[part] = sequence
      moved = true
    end
  end
  if moved then redis.call('HSET', key, 'progress', text_of(progress)) end
  return progress[PART] and forget(id, progress[PART]) or false
end

local function was_sent(id, text)
  if text == '' then return end
  local sent = progress_of(redis.call('HGET', client_key(id), 'sent'))
  for part, sequence in string.gmatch(text, '(%d+):(%d+)') do sent[part] = math.max(tonumber(sequence), sent[part] or 0) end
  redis.call('HSET', client_key(id), 'sent', text_of(sent))
end

-- Add cursors that the client was given, "cursor=progress;" each. The last few are kept, and the highest of all: those of one process
-- ascend, those of several do not. They stand for no more than the client's owner could confirm.
local function add_cursors(id, text)
  if text == '' then return end
  local is, all = redis.call('HMGET', client_key(id), 'cursors', 'cap', 'highest'), {}
  for one in string.gmatch(is[1] or '', '[^;]+') do all[#all + 1] = one end
  local cap, highest = progress_of(is[2]), tonumber(is[3] or 0)
  for cursor, stands_for in string.gmatch(text, '(%d+)=([^;]*);') do
    local progress = progress_of(stands_for)
    for part, sequence in pairs(progress) do progress[part] = math.min(sequence, cap[part] or FOREVER) end
    all[#all + 1] = cursor .. '=' .. text_of(progress)
    highest = math.max(highest, tonumber(cursor))
  end
  redis.call('HSET', client_key(id), 'cursors', table.concat(all, ';', math.max(1, #all - 7)) .. ';', 'highest', int(highest))
end

-- The highest cursor that anybody can have handed out: all are times, in microseconds, by a clock that does not jump.
local HIGHEST = math.floor(NOW * 1000000) + 3600000000

-- Nobody knows what the owners of a client have sent, nor which cursors they have handed out.
local function unsettle(id) redis.call('HSET', client_key(id), 'unsettled', '1', 'highest', int(HIGHEST)) end

local function settle(id, a)
  advance(id, ARGV[a], ARGV[a + 3])
  was_sent(id, ARGV[a + 1])
  add_cursors(id, ARGV[a + 2])
end

local function owns(id, number) return redis.call('HGET', client_key(id), 'claim') == number end

-- Whether nobody has claimed a client since: what was confirmed then still counts, though its owner was given up meanwhile.
local function is_last(id, number) return redis.call('HGET', client_key(id), 'last') == number end

-- Whether no process can have handed out a cursor: all cursors are times, in microseconds. Where the client's owners have written the
-- highest one that the client was given, none is higher.
local function is_made_up(id, cursor, settled)
  local number = tonumber(cursor)
  if number < 1000000000000000 or number > HIGHEST then return true end
  local highest = settled and redis.call('HGET', client_key(id), 'highest')
  return highest and number > tonumber(highest)
end

-- id, front-end, expires, link, force, a cursor or "", the caller's former claim or "0": its progress, what was sent, its cursors, the
-- last change that it knows of. Returns the claim's number, the client's record and subscriptions, the sequence up to which its inbox
-- is empty, and the offset of the inbox's last message. Or {2, process}: that process owns the client, and was asked to yield it.
-- A client is unsettled as long as no process knows what its former owners have sent.
function operations.claim(a)
  local id, front_end, expires, link, force, cursor = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
  local is = alive(id)
  if not is then return UNKNOWN end
  local key = client_key(id)
  if cursor ~= '' and is_made_up(id, cursor, false) then return {0, 'CURSOR'} end
  local mine = is.claim ~= '0' and is.process == ME
  if is.claim ~= '0' and not mine and force == '0' then
    notify(is.process, 'Y', id, ME, is.claim)
    return {2, is.process}
  end
  if mine and is.claim == ARGV[a + 6] then
    settle(id, a + 7)
  elseif is.claim ~= '0' or is.generation ~= meta.generation then
    -- The server may have replaced another one, and lack who owned the client a moment ago, and what was sent to it.
    unsettle(id)
  end
  if cursor ~= '' then
    -- If another process has just yielded the client, it is too late to refuse.
    local settled = force == '0' and redis.call('HEXISTS', key, 'unsettled') == 0
    if is_made_up(id, cursor, settled) then return {0, 'CURSOR'} end
    local named = string.match(';' .. (redis.call('HGET', key, 'cursors') or ''), ';' .. cursor .. '=([^;]*)')
    if named then advance(id, named, FOREVER) end
  end
  local was = whole(key)
  if elsewhere(is) ~= '' then
    redis.call('SREM', owned_key(is.process), id)
    notify(is.process, 'C', id, redis.call('HGET', key, 'last'))
  end
  -- Higher than all claims before, even those that Redis has lost.
  local number = int(math.max(tonumber(redis.call('HGET', META, 'claims') or 0) + 1, MICRO))
  redis.call('HSET', META, 'claims', number)
  redis.call('SADD', owned_key(ME), id)
  redis.call('HSET', key, 'claim', number, 'last', number, 'process', ME, 'front_end', front_end, 'expires', expires,
    'link', link, 'joined', '0')
  -- The new owner knows all subscriptions.
  redis.call('HDEL', key, 'cap')
  set_deadline(id, NOW + is.timeout, expires == '0')
  local inbox = state_of(id)
  local empty = (not inbox or inbox.n == 0 and #inbox.cuts == 0 and #inbox.holes == 0) and meta.sequence or 0
  return {1, number, was, whole(subscriptions_key(id)), int(empty), inbox and int(inbox.offset) or '-1'}
end

-- id, claim, progress. Notes how far messages may have been sent before this claim.
function operations.settle(a)
  local id = ARGV[a]
  if owns(id, ARGV[a + 1]) then
    was_sent(id, ARGV[a + 2])
    redis.call('HDEL', client_key(id), 'unsettled')
  end
  return {1}
end

-- id, claim, front-end, expires, link. Resumes a claim that was taken from a live process, or that the store has lost, unless the client
-- was claimed since. Returns whether it was resumed.
function operations.resume(a)
  local id, number, expires = ARGV[a], ARGV[a + 1], ARGV[a + 3]
  local is = alive(id)
  if not is then return UNKNOWN end
  local key = client_key(id)
  if is.claim ~= '0' and is.process ~= ME then return {1, 0} end
  if tonumber(redis.call('HGET', key, 'last') or 0) > tonumber(number) then return {1, 0} end
  if tonumber(redis.call('HGET', META, 'claims') or 0) < tonumber(number) then redis.call('HSET', META, 'claims', number) end
  redis.call('SADD', owned_key(ME), id)
  redis.call('HSET', key, 'claim', number, 'last', number, 'process', ME, 'front_end', ARGV[a + 2], 'expires', expires,
    'link', ARGV[a + 4], 'joined', '0')
  redis.call('HDEL', key, 'unsettled')
  set_deadline(id, is.deadline, expires == '0')
  return {1, 1}
end

-- id, claim, progress, the last change that its owner knows of. Returns whether its inbox has more to trim.
function operations.confirm(a)
  local id, more = ARGV[a], false
  if is_last(id, ARGV[a + 1]) then more = advance(id, ARGV[a + 2], ARGV[a + 3]) end
  return {1, more and 1 or 0}
end

-- id, claim, progress, the last change that its owner knows of, whether its link's checkpoint applies to it. Returns whether its owner
-- knows of all changes, otherwise the checkpoint does not apply; and whether its inbox has more to trim than one call does.
function operations.follows_link(a)
  local id = ARGV[a]
  if not owns(id, ARGV[a + 1]) then return {1, 1, 0} end
  local more = advance(id, ARGV[a + 2], ARGV[a + 3])
  local knows = (redis.call('HGET', client_key(id), 'changes') or '0') == ARGV[a + 3]
  redis.call('HSET', client_key(id), 'joined', knows and ARGV[a + 4] or '0')
  return {1, knows and 1 or 0, more and 1 or 0}
end

local function let_go(id, process, expires, timeout, deadline)
  redis.call('HSET', client_key(id), 'claim', '0', 'process', process, 'front_end', '', 'expires', '1', 'joined', '0')
  set_deadline(id, expires == '0' and NOW + tonumber(timeout) or tonumber(deadline), false)
end

-- id, claim, progress, sent, cursors, the last change that its owner knows of
function operations.release(a)
  local id = ARGV[a]
  if not is_last(id, ARGV[a + 1]) then return {1} end
  settle(id, a + 2)
  if not owns(id, ARGV[a + 1]) then return {1} end
  redis.call('HSET', client_key(id), 'generation', int(meta.generation))
  redis.call('SREM', owned_key(ME), id)
  let_go(id, '', unpack(redis.call('HMGET', client_key(id), 'expires', 'timeout', 'deadline')))
  return {1}
end

-- process, most, how many links, their names and checkpoints. Releases clients that a dead process owned. Returns how many are left.
-- The process may only have hung: until somebody else claims a client, it is notified as before. Otherwise what it confirms when it goes
-- on would cover queued messages that it has not got.
function operations.reap(a)
  local process, most, links = ARGV[a], tonumber(ARGV[a + 1]), {}
  for index = a + 3, a + 2 + 2 * tonumber(ARGV[a + 2]), 2 do links[ARGV[index]] = ARGV[index + 1] end
  for _, id in ipairs(redis.call('SRANDMEMBER', owned_key(process), most)) do
    redis.call('SREM', owned_key(process), id)
    local is = redis.call('HMGET', client_key(id), 'process', 'link', 'joined', 'expires', 'timeout', 'deadline')
    if is[1] == process then
      if is[3] == '1' and links[is[2]] then advance(id, links[is[2]], FOREVER) end
      unsettle(id)
      let_go(id, process, is[4], is[5], is[6])
    end
  end
  return {1, redis.call('SCARD', owned_key(process))}
end

-- how many links, their names and checkpoints. Writes checkpoints of this process; "" for a link that is closed.
function operations.checkpoint(a)
  local key = B .. 'links:' .. ME
  for index = a + 1, a + 2 * tonumber(ARGV[a]), 2 do
    if ARGV[index + 1] == '' then redis.call('HDEL', key, ARGV[index]) else redis.call('HSET', key, ARGV[index], ARGV[index + 1]) end
  end
  return {1}
end

function operations.checkpoints(a)
  return {1, redis.call('HGETALL', B .. 'links:' .. ARGV[a])}
end
