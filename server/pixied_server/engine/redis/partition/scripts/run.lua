-- After a failover or a restart the server may lack the youngest messages that were answered and announced. For some time it only learns
-- what each process knows of them (`lost`): otherwise new messages would take their sequences and offsets, and nobody would notice.
-- `recovered` is the highest sequence that it had when it took over.
-- Returns how many microseconds that still takes.
local SETTLES = 1000000

local function unsettled()
  local is = redis.call('HMGET', META, 'server', 'settling', 'since')
  if SERVER == '' or is[1] == SERVER then return 0 end
  if not is[1] then
    if redis.call('EXISTS', META) == 1 then redis.call('HSET', META, 'server', SERVER) end
    return 0
  end
  if is[2] ~= SERVER then
    redis.call('HSET', META, 'settling', SERVER, 'since', int(MICRO), 'recovered', int(meta.sequence))
    return SETTLES
  end
  -- A clock that was set back must not prolong this.
  local left = math.min(tonumber(is[3]) + SETTLES - MICRO, SETTLES)
  if left > 0 then return left end
  redis.call('HSET', META, 'server', SERVER)
  redis.call('HDEL', META, 'settling', 'since', 'recovered')
  set_meta('generation', meta.generation + 1)
  return 0
end

local left = unsettled()
if left > 0 and ARGV[5] ~= 'lost' then return {left} end

local results, at = {0}, 5
local done, failure = pcall(function()
  while at <= #ARGV and seen < RECORDS do
    local operation, count = operations[ARGV[at]], tonumber(ARGV[at + 1])
    results[#results + 1] = operation(at + 2)
    at = at + 2 + count
  end
end)
-- The operations before a failed one have taken effect.
write_states()
local words = {}
for name in pairs(changed) do
  words[#words + 1] = name
  words[#words + 1] = num(meta[name])
end
if #words > 0 then redis.call('HSET', META, unpack(words)) end
if not done then return redis.error_reply(type(failure) == 'table' and failure.err or tostring(failure)) end
results[1] = {int(meta.bytes), int(meta.messages), int(meta.subscriptions), redis.call('ZCARD', CLIENTS), redis.call('ZCARD', PATTERNS),
  redis.call('SCARD', NAMESPACES), redis.call('HLEN', KEYS_SEEN), num(CLOCK), num(meta.skew)}
return results
