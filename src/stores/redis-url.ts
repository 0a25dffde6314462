/**
 * The URLs that `redisStore` takes, and the ioredis options that each comes to: one server, a master behind Sentinels,
 * a Cluster. The options are what a failover needs; the figures behind them are in decision 0021. Pure; makes no client.
 * `redis-client.ts` calls it.
 */
import type { ConnectionOptions } from "node:tls";
import { SessionError } from "../errors.ts";

/** Options of the URL form's connection; with a client of your own they belong to that one. */
export interface ConnectionSettings {
  /** How long one command may take, in ms. @default 500 */
  commandTimeout?: number;
  /**
   * How long a silent connection with commands under way is kept, in ms: a master that hangs is left after it, and not
   * used again when it wakes. Above `commandTimeout`. @default 2500, with Sentinel or Cluster 1500
   */
  socketTimeout?: number;
  /** For `rediss:` and its kin: certificates and the like, for every node and Sentinel. @default Node's own trust */
  tls?: ConnectionOptions;
}

/** What a URL asks for, as ioredis takes it. */
export type RedisTarget =
  | { kind: "single"; url: string; options: object }
  | { kind: "sentinel"; options: object }
  | { kind: "cluster"; nodes: HostPort[]; options: object };

interface HostPort {
  host: string;
  port: number;
}

const forms =
  'write "redis://[user:password@]host[:port][/db]", "redis+sentinel://[user:password@]host[:port],host[:port]…[/db]?name=mymaster" or "redis+cluster://[user:password@]host[:port],host[:port]…"; "rediss…" for TLS; for a socket hand in a client';
const encodeHint = "; write /, ?, # and @ in a password as %2F, %3F, %23 and %40";

/** Protocol, kind, authority, path, query. */
const shape = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/i;
const sentinelParameters = ["name", "sentinelUsername", "sentinelPassword", "sentinelTls"];

/**
 * Reads a URL.
 * @throws {SessionError} `ERR_SESSION_OPTION`; its message shows the URL without user, password and query
 */
export function parseRedisUrl(url: string, settings: ConnectionSettings): RedisTarget {
  const [, protocol, kind, authority, path = "", query = ""] = shape.exec(url) ?? [];
  if (protocol === undefined || authority === undefined) throw noUrl(url);
  const isTls = protocol.toLowerCase() === "rediss" || settings.tls !== undefined;
  if (kind === undefined) {
    checkSingle(url);
    const tls = settings.tls && { tls: settings.tls };
    return { kind: "single", url, options: { ...nodeOptions(settings), ...tls } };
  }
  const hosts = authority.slice(authority.lastIndexOf("@") + 1);
  const isSentinel = kind.toLowerCase() === "sentinel";
  const nodes = hosts.split(",").map((host) => parseHost(host, isSentinel ? 26_379 : 6_379));
  // What may be half a password is not shown.
  if (!nodes.every((node) => node !== undefined) || url.slice(url.indexOf(hosts) + hosts.length).includes("@"))
    throw refused(`a list of hosts that can't be read${encodeHint}`);
  const shown = `"${protocol}+${kind}://${hosts}${path && `/${path}`}"`;
  const login = loginOf(authority.slice(0, Math.max(0, authority.lastIndexOf("@"))), shown);
  const given = new URLSearchParams(query);
  const known = isSentinel ? sentinelParameters : [];
  const unknown = [...given.keys()].find((name) => !known.includes(name));
  if (unknown !== undefined) throw refused(`${shown} with the parameter "${unknown}"`);
  if (!/^\d*$/.test(path)) throw refused(`${shown}: the database is no number`);
  if (isSentinel) return sentinelTarget({ nodes, login, db: Number(path), isTls, given, shown }, settings);
  if (Number(path) !== 0) throw refused(`${shown}: a Cluster has database 0 only`);
  return clusterTarget(nodes, { ...login, ...(isTls && { tls: settings.tls ?? {} }) }, settings);
}

/** What every connection to a Redis has. */
function nodeOptions(settings: ConnectionSettings, socketTimeout = 2_500): object {
  return {
    commandTimeout: settings.commandTimeout ?? 500,
    socketTimeout: settings.socketTimeout ?? socketTimeout,
    connectTimeout: 2_500,
    disconnectTimeout: 500,
    // A lost connection fails what was under way on it at once; the store repeats it on the next one.
    maxRetriesPerRequest: 0,
    // A Redis that loads its data says how long it will take, in whole seconds, and is often done before.
    maxLoadingRetryTime: 250,
    autoResendUnfulfilledCommands: false,
    // What waits in the client would run after its caller gave up; the store waits itself.
    enableOfflineQueue: false,
    retryStrategy: (attempt: number) => Math.min(50 * attempt, 500),
    // A connection to a master that became a replica is of no use any more.
    reconnectOnError: (error: Error) => error.message.startsWith("READONLY"),
  };
}

const failoverSocketTimeout = 1_500;

function sentinelTarget(
  parsed: { nodes: HostPort[]; login: object; db: number; isTls: boolean; given: URLSearchParams; shown: string },
  settings: ConnectionSettings,
): RedisTarget {
  const { nodes, login, db, isTls, given, shown } = parsed;
  const name = given.get("name");
  if (!name) throw refused(`${shown} without the master's name; add "?name=mymaster", as in sentinel.conf`);
  const sentinelTls = given.get("sentinelTls") ?? "true";
  if (!/^(true|false)$/.test(sentinelTls)) throw refused(`${shown}: sentinelTls is neither "true" nor "false"`);
  const options = {
    ...nodeOptions(settings, failoverSocketTimeout),
    ...login,
    db,
    name,
    sentinels: nodes,
    sentinelUsername: given.get("sentinelUsername"),
    sentinelPassword: given.get("sentinelPassword"),
    role: "master",
    // Leaves the old master as soon as a Sentinel names another, also one that hangs and says nothing.
    failoverDetector: true,
    sentinelReconnectStrategy: () => 1_000,
    sentinelRetryStrategy: (attempt: number) => Math.min(50 * attempt, 250),
    // A Sentinel that hangs or is cut off costs that long; then the next one is asked.
    sentinelCommandTimeout: settings.commandTimeout ?? 500,
    connectTimeout: 1_000,
    retryStrategy: (attempt: number) => Math.min(50 * attempt, 250),
    ...(isTls ? { tls: settings.tls ?? {}, enableTLSForSentinelMode: true } : {}),
    ...(isTls && sentinelTls === "true" ? { sentinelTLS: settings.tls ?? {} } : {}),
  };
  return { kind: "sentinel", options };
}

function clusterTarget(nodes: HostPort[], access: object, settings: ConnectionSettings): RedisTarget {
  const options = {
    redisOptions: { ...nodeOptions(settings, failoverSocketTimeout), connectTimeout: 1_000, ...access },
    scaleReads: "master",
    // The store tries again itself, and so knows that it did.
    enableOfflineQueue: false,
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    retryDelayOnTryAgain: 20,
    // A node that hangs is asked for the map of slots as likely as any other.
    slotsRefreshTimeout: 300,
    clusterRetryStrategy: (attempt: number) => Math.min(50 * attempt, 250),
    // Names stay names: a certificate is for the name, not for its address.
    ...("tls" in access ? { dnsLookup } : {}),
  };
  return { kind: "cluster", nodes, options };
}

function dnsLookup(address: string, done: (error: null, address: string) => void): void {
  done(null, address);
}

function parseHost(text: string, defaultPort: number): HostPort | undefined {
  if (!/^(\[[\da-f:.]+\]|[^[\]:@\s]+)(:\d{1,5})?$/i.test(text)) return undefined;
  const [, host = "", port] = /^(.*?)(?::(\d+))?$/.exec(text) ?? [];
  const number = port === undefined ? defaultPort : Number(port);
  return number >= 1 && number <= 65_535 ? { host: host.replace(/^\[|\]$/g, ""), port: number } : undefined;
}

function loginOf(userInfo: string, shown: string): { username?: string; password?: string } {
  const at = userInfo.indexOf(":");
  const [user, password] = at < 0 ? [userInfo, ""] : [userInfo.slice(0, at), userInfo.slice(at + 1)];
  try {
    return {
      ...(user && { username: decodeURIComponent(user) }),
      ...(password && { password: decodeURIComponent(password) }),
    };
  } catch {
    throw refused(`${shown} with a user or password whose % stands for no character; write % as %25`);
  }
}

/** The form that ioredis reads itself. */
function checkSingle(url: string): void {
  if (!URL.canParse(url)) throw noUrl(url);
  if (new URL(url).hostname === "") throw refused(`"${url.slice(0, url.indexOf(":"))}://" without a host`);
}

/** Half a URL may hold a password: nothing is shown of what can't be read, or has an "@" behind its host. */
function noUrl(url: string): SessionError {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed !== undefined && !`${parsed.pathname}${parsed.search}${parsed.hash}`.includes("@")) {
    return refused(`"${parsed.protocol}//${parsed.host}"`);
  }
  return refused(`${url.length} characters that are no URL${/^redis/i.test(url) ? encodeHint : ""}`);
}

function refused(received: string): SessionError {
  return new SessionError("ERR_SESSION_OPTION", `redisStore(url): received ${received}; ${forms}`);
}
