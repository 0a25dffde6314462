/**
 * Reading a session by its secret, led on where a timed rotation moved it. Called at arrival, and by whoever finds a
 * pointer where a record was.
 */
import { type Context, callStore } from "./context.ts";
import type { Budget } from "./deadline.ts";
import { publicIdOf } from "./id.ts";
import { asEnded, pointerOf, secretBehind } from "./moved.ts";
import type { MovedRecord, StoreRecord } from "./store.ts";

/** What stands where a secret leads. */
export interface Followed {
  secret: string;
  id: string;
  record: StoreRecord | undefined;
  /** Whether a pointer was followed on the way. */
  isLedOn: boolean;
}

/** A session that rotates faster than that within one grace is a fault of the options; no loop lasts. */
const mostHops = 4;

/**
 * Reads the record of a secret, or of the one that it was rotated to; what this process saves there in the background
 * comes first. @throws {SessionError} `ERR_SESSION_STORE…`
 */
export async function readFollowing(
  context: Context,
  budget: Budget,
  { secret, id }: { secret: string; id: string },
): Promise<Followed> {
  const before = savedHere(context, budget, id);
  if (before !== undefined) await before;
  // Whoever loads a session writes by the version that it read.
  const asked = { operation: "read", id, mayBeStale: true } as const;
  const found = await callStore(context, budget, asked, (store, call) => store.read(id, call));
  const record = asEnded(found, context.store.now());
  if (record?.kind !== "moved") return { secret, id, record, isLedOn: false };
  const led = await follow(context, budget, secret, record);
  const behind = savedHere(context, budget, led.id);
  if (behind === undefined) return led;
  await behind;
  return follow(context, budget, secret, record);
}

/**
 * The saves of a session that this process has under way in the background: who reads waits for them, and so reads what
 * was written here. `undefined`: there are none. @throws {SessionError} `ERR_SESSION_STORE_TIMEOUT`
 */
export function savedHere({ background }: Context, budget: Budget, id: string): Promise<void> | undefined {
  const saves = background.size > 0 ? background.of(id) : undefined;
  return saves && budget.spend(() => saves);
}

/** Where a pointer leads; `fresh`: as in `read`. @throws {SessionError} `ERR_SESSION_STORE…` */
export async function follow(
  context: Context,
  budget: Budget,
  from: string,
  moved: MovedRecord,
  how: { fresh?: boolean } = {},
): Promise<Followed> {
  let secret = from;
  let record: StoreRecord | undefined = moved;
  for (let hop = 0; hop < mostHops && record?.kind === "moved"; hop++) {
    const pointer = pointerOf(record);
    const next = pointer && secretBehind(secret, pointer, context.options.secrets);
    if (next === undefined) {
      const garbage = { kind: "garbage", detail: "a pointer that leads nowhere" } as const;
      return { secret, id: publicIdOf(secret), record: garbage, isLedOn: true };
    }
    secret = next;
    record = await read(context, budget, publicIdOf(secret), how);
  }
  return { secret, id: publicIdOf(secret), record, isLedOn: true };
}

/** What a public id leads to, by the pointers alone; `fresh`: as in `read`. @throws {SessionError} `ERR_SESSION_STORE…` */
export async function readById(
  context: Context,
  budget: Budget,
  id: string,
  how: { fresh?: boolean } = {},
): Promise<{ id: string; record: StoreRecord | undefined }> {
  let at = id;
  let record = await read(context, budget, at, how);
  for (let hop = 0; hop < mostHops && record?.kind === "moved"; hop++) {
    const pointer = pointerOf(record);
    if (pointer === undefined) break;
    at = pointer.id;
    record = await read(context, budget, at, how);
  }
  return { id: at, record };
}

/** As `readById`, what this process saves there in the background first. @throws {SessionError} `ERR_SESSION_STORE…` */
export async function readSaved(
  context: Context,
  budget: Budget,
  id: string,
): Promise<{ id: string; record: StoreRecord | undefined }> {
  await savedHere(context, budget, id);
  const found = await readById(context, budget, id);
  const behind = found.id === id ? undefined : savedHere(context, budget, found.id);
  if (behind === undefined) return found;
  await behind;
  return readById(context, budget, id);
}

/**
 * What stands under a public id; `fresh`: by the backend's own word.
 * @throws {SessionError} `ERR_SESSION_STORE…`
 */
export async function read(
  context: Context,
  budget: Budget,
  id: string,
  { fresh = false }: { fresh?: boolean } = {},
): Promise<StoreRecord | undefined> {
  const record = await callStore(context, budget, { operation: "read", id }, (store, call) =>
    store.read(id, fresh ? { ...call, fresh } : call),
  );
  return asEnded(record, context.store.now());
}
