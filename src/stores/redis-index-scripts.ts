/**
 * The Lua scripts of the principal index. KEYS[1] is a user's sorted set: names of sessions, scored by when they lapse;
 * KEYS[2] the bar: "<when it was set> <when it lapses> <id that it spares>". Both have the user's digest in braces: one
 * slot in a Cluster, another than the sessions' own. `redis-index.ts` runs them.
 *
 * A name is a public id; `new<` is one that is not confirmed yet, and `new<old` one on
 * its way to replace another session, and not counted beside it. Every script that adds sets the TTL of the set, so that no set outlives its last name.
 */
import { createHash } from "node:crypto";
import type { Script } from "./redis-scripts.ts";

/** First number of each answer; the second is the time. */
export const indexOutcome = { no: 0, done: 1, full: 2, barred: 3 } as const;

// ARGV[1]: the time, "" for Redis's own.
const prelude = `
local time = redis.call('TIME')
local server = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now = server
if ARGV[1] ~= '' then now = tonumber(ARGV[1]) end

-- ZADD and PEXPIREAT read integers of any length as text, and Lua would write a double with an exponent.
local function whole(number)
  return string.format('%.0f', number)
end

local function prune()
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
end

-- The set goes with its last name, on Redis's own clock.
local function keep_until_last()
  local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
  if last[2] then
    redis.call('PEXPIREAT', KEYS[1], whole(math.max(tonumber(last[2]) - now + server, server + 1)))
  end
end
`;

/** ARGV: time, id, until, beganAt, replaced id or "", most or 0, from how many names on to sample, how many. */
export const enterScript: Script = script(`
prune()
local id, replaces, most = ARGV[2], ARGV[5], tonumber(ARGV[6])
local bar = redis.call('GET', KEYS[2])
if bar then
  local at, lapses, except = string.match(bar, '^(%d+) (%d+) (.*)$')
  local spared = replaces ~= '' and replaces == except
  if now < tonumber(lapses) and tonumber(ARGV[4]) < tonumber(at) and not spared then
    return { ${indexOutcome.barred}, now }
  end
end

-- What it replaces is not named (any more): a session like any other.
if replaces ~= '' and not redis.call('ZSCORE', KEYS[1], replaces) then replaces = '' end
local name = id .. '<' .. replaces

if most > 0 and replaces == '' and redis.call('ZCARD', KEYS[1]) >= most then
  local names = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
  local count = 0
  for i = 1, #names, 2 do
    if names[i] ~= name and not string.find(names[i], '<.') then count = count + 1 end
  end
  if count >= most then return { ${indexOutcome.full}, now, names } end
end

redis.call('ZADD', KEYS[1], ARGV[3], name)
keep_until_last()
local sample = {}
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[7]) then
  sample = redis.call('ZRANDMEMBER', KEYS[1], ARGV[8], 'WITHSCORES')
end
return { ${indexOutcome.done}, now, sample }
`);

/** ARGV: time, id, until, replaced id or "". */
export const confirmScript: Script = script(`
local id, replaces = ARGV[2], ARGV[4]
local was_new = redis.call('ZREM', KEYS[1], id .. '<') == 1
local was_replacing = replaces ~= '' and redis.call('ZREM', KEYS[1], id .. '<' .. replaces) == 1
-- What it replaces was ended and dropped meanwhile: it must not live on as this one.
if was_replacing and not redis.call('ZSCORE', KEYS[1], replaces) then return { ${indexOutcome.no}, now } end
if not was_new and not was_replacing and not redis.call('ZSCORE', KEYS[1], id) then return { ${indexOutcome.no}, now } end
redis.call('ZADD', KEYS[1], ARGV[3], id)
if replaces ~= '' then redis.call('ZREM', KEYS[1], replaces) end
keep_until_last()
return { ${indexOutcome.done}, now }
`);

/** ARGV: time, id, until. */
export const refreshScript: Script = script(`
prune()
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2])
keep_until_last()
return { ${indexOutcome.done}, now }
`);

/** ARGV: time. */
export const listScript: Script = script(`
prune()
return { ${indexOutcome.done}, now, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES') }
`);

/** ARGV: time, until, spared id or "". */
export const barScript: Script = script(`
prune()
local at = math.max(tonumber(ARGV[2]) - now + server, server + 1)
redis.call('SET', KEYS[2], whole(now) .. ' ' .. ARGV[2] .. ' ' .. ARGV[3], 'PXAT', whole(at))
return { ${indexOutcome.done}, now, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES') }
`);

/** ARGV: time, names. */
export const pruneNamesScript: Script = script(`
local replaced = {}
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local old = string.match(name, '<(.+)$')
  if old then replaced[old] = true end
end
for i = 2, #ARGV do
  if not replaced[ARGV[i]] then redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return { ${indexOutcome.done}, now }
`);

/** ARGV: time, names. */
export const removeNamesScript: Script = script(`
for i = 2, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i], ARGV[i] .. '<') end
return { ${indexOutcome.done}, now }
`);

function script(body: string): Script {
  const lua = prelude + body;
  return { lua, sha: createHash("sha1").update(lua).digest("hex") };
}
