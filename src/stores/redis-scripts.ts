/**
 * The three Lua scripts that change a record, each on one key and in one step with its TTL. They decide and write;
 * what a record says is parsed in `redis-header.ts`, whose offsets they share (Lua counts from 1). `redis.ts` runs
 * them.
 *
 * A write and a touch end with a read: to a connection whose reads are tracked (`redis-lane.ts`) a change of its own is
 * not reported, and takes the key out of Redis's table; the read puts it back, so that the next change is reported.
 *
 * All take the time from Redis, or from ARGV[1] where the store was given a clock, and answer
 * `{ outcome, now, record? }`. Numbers stay exact: Lua's are doubles, times are below 2^47.
 */
import { createHash } from "node:crypto";

/** A script and the name that Redis knows it by. */
export interface Script {
  readonly lua: string;
  /** SHA-1 of the source, for EVALSHA. */
  readonly sha: string;
}

/** First number of every script's answer. */
export const outcome = {
  /** Refused (write), nothing to extend (touch). */
  no: 0,
  done: 1,
  /** A key of another Redis type stands there, or stood there (remove). */
  otherType: 2,
  /** A record of a format revision that this version does not know; left alone. */
  otherRevision: 3,
  /** Touch only: a newer write or touch had extended it. */
  superseded: 4,
  /** Write only: refused as `no`, and what stands there was written again, unchanged, to be confirmed. */
  standing: 5,
} as const;

// ARGV[1] the time, "" for Redis's own; ARGV[2] the key's six characters.
const prelude = `
local time = redis.call('TIME')
local server = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now = server
if ARGV[1] ~= '' then now = tonumber(ARGV[1]) end

-- A deadline on Redis's own clock. Never in the past: the key would go in this step, and a tombstone with it.
local function at(deadline)
  return string.format('%.0f', math.max(deadline - now + server, server + 1))
end

local function time_in(text, from)
  return tonumber(string.sub(text, from, from + 8), 36)
end

-- The earlier of the idle and the absolute deadline; zeros are no absolute deadline.
local function earlier(idle, absolute)
  if absolute > 0 and absolute < idle then return absolute end
  return idle
end

-- What stands under the key: 'none', 'type', 'revision', 'garbage', 'expired', or its letter L, M or E.
-- A tombstone that is over counts as none.
local function standing()
  local type = redis.call('TYPE', KEYS[1]).ok
  if type == 'none' then return 'none', '' end
  if type ~= 'string' then return 'type', '' end
  local head = redis.call('GETRANGE', KEYS[1], 0, 68)
  local named = string.sub(head, 4, 9) == ARGV[2]
  if string.sub(head, 1, 2) ~= 'H1' then
    if named and string.find(head, '^H[0-9A-Z]') then return 'revision', head end
    return 'garbage', head
  end
  if #head ~= 69 or not named or not string.find(head, '^H1[LME][%w_%-]+$')
    or not string.find(string.sub(head, 34, 69), '^[0-9a-z]+$') then
    return 'garbage', head
  end
  local letter = string.sub(head, 3, 3)
  if now >= earlier(time_in(head, 52), time_in(head, 61)) then
    if letter == 'E' then return 'none', head end
    return 'expired', head
  end
  return letter, head
end

-- Sets the TTL that a record has anyway: WAIT confirms only what its own connection wrote, and all that Redis wrote before.
local function write_again(head)
  redis.call('PEXPIREAT', KEYS[1], at(earlier(time_in(head, 52), time_in(head, 61))))
  redis.call('TYPE', KEYS[1])
end

-- A user whom the ACL denies the channel ends sessions all the same: the others hear of it at their next read.
local function publish(channel, message)
  if channel then redis.pcall('PUBLISH', channel, message) end
end

local state, head = standing()
if state == 'revision' then return { ${outcome.otherRevision}, now } end
`;

/**
 * ARGV: time, key mark, own token, expected token or "absent", letter, four times (36 digits), payload, "1" where what
 * beats the write is to be confirmed as well; and a channel and message for who hears of a live record that is moved.
 */
export const writeScript: Script = script(`
if state == 'type' then return { ${outcome.otherType}, now } end
local own, expected = ARGV[3], ARGV[4]
local free = state == 'none' or state == 'expired'
local stands = state == 'L' or state == 'M'

-- This very write got here before, and its answer was lost.
if stands or state == 'expired' then
  for from = 10, 26, 8 do
    if string.sub(head, from, from + 7) == own then
      write_again(head)
      return { ${outcome.done}, now }
    end
  end
end

local wins = stands and string.sub(head, 10, 17) == expected
if expected == 'absent' then wins = free end
if not wins then
  local found = redis.call('GET', KEYS[1])
  if ARGV[8] ~= '1' or not stands then return { ${outcome.no}, now, found } end
  write_again(head)
  return { ${outcome.standing}, now, found }
end

local before = 'AAAAAAAAAAAAAAAA'
if stands then before = string.sub(head, 10, 25) end
local times = ARGV[6]
local deadline = earlier(time_in(times, 19), time_in(times, 28))
redis.call('SET', KEYS[1], 'H1' .. ARGV[5] .. ARGV[2] .. own .. before .. times .. ARGV[7], 'PXAT', at(deadline))
if state == 'L' and ARGV[5] == 'M' then publish(ARGV[9], ARGV[10]) end
redis.call('TYPE', KEYS[1])
return { ${outcome.done}, now }
`);

/** ARGV: time, key mark, version, touchedAt and expiresAt (9 digits each). */
export const touchScript: Script = script(`
if state ~= 'L' then return { ${outcome.no}, now } end
if string.sub(head, 10, 17) ~= ARGV[3] then return { ${outcome.superseded}, now } end
-- Two touches may overtake each other: the later one stays.
if time_in(head, 43) > tonumber(ARGV[4], 36) then return { ${outcome.superseded}, now } end
-- The TTL first: it is allowed when memory is full, and after it so is SETRANGE.
redis.call('PEXPIREAT', KEYS[1], at(earlier(tonumber(ARGV[5], 36), time_in(head, 61))))
redis.call('SETRANGE', KEYS[1], 42, ARGV[4] .. ARGV[5])
redis.call('TYPE', KEYS[1])
return { ${outcome.done}, now }
`);

/** ARGV: time, key mark, the tombstone; and a channel and message for who hears of a record that ends. */
export const removeScript: Script = script(`
local until_at = time_in(ARGV[3], 52)
local before = false
if state ~= 'type' then before = redis.call('GET', KEYS[1]) end
if state == 'E' then
  local own, reason_ends = string.sub(ARGV[3], 10, 17), string.find(before, ' ', 70, true)
  -- This very removal got here before, and its answer was lost.
  if string.sub(head, 10, 17) == own and reason_ends then
    write_again(head)
    return { ${outcome.done}, now, string.sub(before, reason_ends + 1) }
  end
  if until_at > time_in(head, 52) then
    redis.call('PEXPIREAT', KEYS[1], at(until_at))
    redis.call('SETRANGE', KEYS[1], 51, string.sub(ARGV[3], 52, 60))
  else
    write_again(head)
  end
  return { ${outcome.done}, now, before }
end
-- UNLINK first: a logout must work when memory is full, and after one write SET may.
redis.call('UNLINK', KEYS[1])
local replaced = ''
if state == 'L' then replaced = ' ' .. head end
if state == 'M' then replaced = ' ' .. before end
redis.call('SET', KEYS[1], ARGV[3] .. replaced, 'PXAT', at(until_at))
if state == 'L' then publish(ARGV[4], ARGV[5]) end
if state == 'type' then return { ${outcome.otherType}, now } end
return { ${outcome.done}, now, before }
`);

function script(body: string): Script {
  const lua = prelude + body;
  return { lua, sha: createHash("sha1").update(lua).digest("hex") };
}
