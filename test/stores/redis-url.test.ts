/** The URLs of `redisStore`: what each kind comes to, and what a wrong one is told without its password being shown. */
import { afterAll, describe, expect, test } from "vitest";
import { redisStore } from "../../src/stores/redis.ts";
import { openClient, type RedisCommands } from "../../src/stores/redis-client.ts";
import { missingSettings } from "../../src/stores/redis-client-check.ts";
import { parseRedisUrl } from "../../src/stores/redis-url.ts";

const opened: RedisCommands[] = [];

afterAll(() => {
  for (const client of opened) client.disconnect();
});

function open(...args: Parameters<typeof openClient>): RedisCommands {
  const client = openClient(...args);
  opened.push(client);
  return client;
}

describe("a URL for Sentinel", () => {
  const url =
    "redis+sentinel://app:s%40cret@one:26380,two,[::1]:26381/3?name=mymaster&sentinelUsername=watch&sentinelPassword=p%26q";

  test("says where the Sentinels are, who logs in where, and which database", () => {
    expect(parseRedisUrl(url, {})).toMatchObject({
      kind: "sentinel",
      options: {
        sentinels: [
          { host: "one", port: 26_380 },
          { host: "two", port: 26_379 },
          { host: "::1", port: 26_381 },
        ],
        name: "mymaster",
        db: 3,
        username: "app",
        password: "s@cret",
        sentinelUsername: "watch",
        sentinelPassword: "p&q",
      },
    });
  });

  test("makes a client that leaves an old master, and lacks nothing that is asked of others", () => {
    const client = open("redis+sentinel://127.0.0.1:1?name=m", { commandTimeout: 300, socketTimeout: 900 });
    expect(missingSettings(client)).toEqual([]);
    expect(client.options).toMatchObject({
      failoverDetector: true,
      role: "master",
      commandTimeout: 300,
      socketTimeout: 900,
      sentinelCommandTimeout: 300,
      enableOfflineQueue: false,
    });
  });

  test("with TLS means every node and every Sentinel, unless it says otherwise", () => {
    const tls = { servername: "redis.internal" };
    const both = parseRedisUrl("rediss+sentinel://h?name=m", { tls });
    expect(both).toMatchObject({ options: { tls, sentinelTLS: tls, enableTLSForSentinelMode: true } });
    const nodes = parseRedisUrl("rediss+sentinel://h?name=m&sentinelTls=false", {});
    expect(nodes).toMatchObject({ options: { tls: {}, enableTLSForSentinelMode: true } });
    expect(nodes.options).not.toHaveProperty("sentinelTLS");
    expect(parseRedisUrl("redis+sentinel://h?name=m", {}).options).not.toHaveProperty("tls");
  });
});

describe("a URL for Cluster", () => {
  test("says where to begin and who logs in", () => {
    expect(parseRedisUrl("redis+cluster://:pw@h1:7000,h2:7001,h3", {})).toMatchObject({
      kind: "cluster",
      nodes: [
        { host: "h1", port: 7_000 },
        { host: "h2", port: 7_001 },
        { host: "h3", port: 6_379 },
      ],
      options: { redisOptions: { password: "pw" }, scaleReads: "master" },
    });
  });

  test("makes a client that lacks nothing that is asked of others", () => {
    const client = open("redis+cluster://127.0.0.1:1", {});
    expect(Reflect.get(client, "isCluster")).toBe(true);
    expect(missingSettings(client)).toEqual([]);
  });

  test("with TLS keeps the nodes' names, which their certificates are for", () => {
    const { options } = parseRedisUrl("rediss+cluster://h1:7000", {});
    const names: unknown[] = [];
    Reflect.get(options, "dnsLookup")("h1", (...args: unknown[]) => names.push(args));
    expect(names).toEqual([[null, "h1"]]);
    expect(options).toMatchObject({ redisOptions: { tls: {} } });
  });
});

describe("a wrong URL is refused with what was received and the cure, and never with the password", () => {
  test.each([
    [
      "redis+sentinel://u:topsecret@h1:26379,h2:26379",
      /received "redis\+sentinel:\/\/h1:26379,h2:26379" without the master's name; add "\?name=mymaster"/,
    ],
    ["redis+sentinel://u:topsecret@h1?name=", /without the master's name/],
    ["redis+sentinel://u:topsecret@h1?master=m", /with the parameter "master"/],
    ["redis+sentinel://u:topsecret@h1/zero?name=m", /"redis\+sentinel:\/\/h1\/zero": the database is no number/],
    ["redis+sentinel://u:topsecret@h1?name=m&sentinelTls=no", /sentinelTls is neither "true" nor "false"/],
    ["redis+sentinel://?name=m", /a list of hosts that can't be read/],
    ["redis+sentinel://u:topsecret@h1:26379,,h2?name=m", /a list of hosts that can't be read/],
    ["redis+sentinel://u:top/topsecret@h1?name=m", /can't be read; write \/, \?, # and @ in a password as %2F/],
    ["redis+sentinel://u:26379/topsecret@h1?name=m", /can't be read/],
    ["redis+sentinel://u:top#topsecret@h1?name=m", /characters that are no URL; write \/, \?/],
    ["redis+sentinel://u:%topsecret@h1?name=m", /"redis\+sentinel:\/\/h1" with a user or password whose %/],
    ["redis+cluster://u:topsecret@h1:70000", /can't be read/],
    ["redis+cluster://u:topsecret@h1:7000/2", /"redis\+cluster:\/\/h1:7000\/2": a Cluster has database 0 only/],
    ["redis+cluster://u:topsecret@h1:7000?name=m", /with the parameter "name"/],
    ["redis+clusters://u:topsecret@h1:7000", /received "redis\+clusters:\/\/h1:7000"/],
    ["redis+cluster:h1:7000", /received "redis\+cluster:\/\/"/],
    ["redis://u:top/topsecret@h1", /characters that are no URL; write/],
    ["http://u:12/topsecret@h1", /24 characters that are no URL/],
  ])("%s", (url, message) => {
    const make = (): unknown => redisStore(url);
    expect(make).toThrow(expect.objectContaining({ code: "ERR_SESSION_OPTION" }));
    expect(make).toThrow(message);
    expect(make).toThrow(/write "redis:\/\/\[user:password@\]host/);
    expect(make).not.toThrow(/topsecret/);
  });
});
