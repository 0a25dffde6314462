/**
 * The expiry index in Redis: sixteen sorted sets, `<prefix>x:{0}` to `{15}`, of session ids scored by when they are to be
 * looked at: sixteen, so that a Cluster spreads them. A lease is the score moved on. `redis.ts` makes it.
 */
import { createHash } from "node:crypto";
import type { ExpiryIndex } from "../expiry-index.ts";
import type { StoreCall } from "../store.ts";
import type { IndexSettings } from "./redis-index.ts";
import type { Script } from "./redis-scripts.ts";

const shardCount = 16;

// ARGV[1]: the time, "" for Redis's own. What nobody looks at for a week is forgotten: no key is without a TTL.
const prelude = `
local time = redis.call('TIME')
local server = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now = server
if ARGV[1] ~= '' then now = tonumber(ARGV[1]) end
local function keep()
  local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
  if last[2] then
    local at = math.max(tonumber(last[2]) - now + server, server) + 604800000
    redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', at))
  end
end
`;

/** ARGV: time, id, when. */
const scheduleScript = script(`
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2])
keep()
return 1
`);

/** ARGV: time, id. */
const cancelScript = script(`
return redis.call('ZREM', KEYS[1], ARGV[2])
`);

/** ARGV: time, lease, most. */
const claimScript = script(`
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[3])
for _, id in ipairs(due) do redis.call('ZADD', KEYS[1], ARGV[2], id) end
if #due > 0 then keep() end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return { first[2] or '', due }
`);

/** ARGV: time, id, lease, when or "". */
const settleScript = script(`
local held = redis.call('ZSCORE', KEYS[1], ARGV[2])
if not held or tonumber(held) ~= tonumber(ARGV[3]) then return 0 end
if ARGV[4] == '' then
  redis.call('ZREM', KEYS[1], ARGV[2])
else
  redis.call('ZADD', KEYS[1], ARGV[4], ARGV[2])
  keep()
end
return 1
`);

/** Which sessions are to be looked at when, in Redis. */
export class RedisExpiry implements ExpiryIndex {
  readonly shards: number = shardCount;
  readonly #settings: IndexSettings;

  constructor(settings: IndexSettings) {
    this.#settings = settings;
  }

  async schedule(id: string, at: number, call: StoreCall): Promise<void> {
    await this.#run(shardOf(id), call, scheduleScript, [id, String(at)]);
  }

  async cancel(id: string, call: StoreCall): Promise<void> {
    await this.#run(shardOf(id), call, cancelScript, [id]);
  }

  async claim(
    shard: number,
    claim: { lease: number; most: number },
    call: StoreCall,
  ): Promise<{ ids: string[]; nextAt: number | undefined }> {
    const reply = await this.#run(shard, call, claimScript, [String(claim.lease), String(claim.most)]);
    // The shape is the script's own.
    const [first, due] = reply as [unknown, unknown[]];
    const nextAt = String(first) === "" ? undefined : Number(String(first));
    return { ids: due.map(String), nextAt };
  }

  async settle(id: string, lease: number, at: number | undefined, call: StoreCall): Promise<boolean> {
    const args = [id, String(lease), at === undefined ? "" : String(at)];
    return Number(String(await this.#run(shardOf(id), call, settleScript, args))) === 1;
  }

  async #run(shard: number, call: StoreCall, script: Script, args: readonly string[]): Promise<unknown> {
    const { link, prefix, scriptTime } = this.#settings;
    const { reply } = await link.evaluate("expire", call, script, [`${prefix}x:{${shard}}`], [scriptTime(), ...args]);
    return reply;
  }
}

/** Ids are digests: their characters are spread evenly enough. */
function shardOf(id: string): number {
  return (id.charCodeAt(0) * 31 + id.charCodeAt(1)) % shardCount;
}

function script(body: string): Script {
  const lua = prelude + body;
  return { lua, sha: createHash("sha1").update(lua).digest("hex") };
}
