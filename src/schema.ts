/**
 * What a session's data must look like: a validator of the Standard Schema interface (zod, valibot, arktype, …), a version
 * of the data, and a function that upgrades older ones. Records are checked when they are decoded, data when they are
 * saved. Issues are told by their paths, never with values. Options of options.ts; used by session-content.ts.
 */
import type { Data } from "./codec.ts";
import { SessionError } from "./errors.ts";
import { functionOf, refuse } from "./option-checks.ts";

/** Standard Schema v1 (standardschema.dev), as far as it is used here. */
export interface StandardSchema {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult | Promise<SchemaResult>;
  };
}

/** What a validation came to. */
export type SchemaResult =
  | { readonly value: unknown; readonly issues?: undefined }
  | { readonly issues: readonly { readonly path?: readonly unknown[] | undefined }[] };

/** The part of the options that is about the data's shape. */
export interface SchemaOptions {
  /**
   * What the data must look like: any synchronous Standard Schema. Its output is the session's data (defaults, dates), so
   * it must accept that as well. A record that fails is garbage, with `issues` in `rejected`; data that fail, or have a
   * key that the schema drops, are refused at save with `ERR_SESSION_SCHEMA`. @default none
   */
  schema?: StandardSchema;
  /**
   * The version of the data's shape, a whole number; records say which they have. A record of a newer one is a 503 here:
   * other nodes can read it. Written when the session is saved for another reason. @default 0
   */
  version?: number;
  /** Upgrades older data: `from` is their version. What it throws makes the record garbage. @default none */
  migrate?: (data: Data, from: number) => Data;
}

/** The same, resolved. */
export interface ResolvedSchema {
  readonly schema: StandardSchema | undefined;
  readonly version: number;
  readonly migrate: ((data: Data, from: number) => Data) | undefined;
}

/** Their names. */
export const schemaKeys: readonly string[] = ["schema", "version", "migrate"];

/** Data that the schema refuses. */
export class InvalidData extends Error {
  /** Where: paths such as `user.roles[0]`; at most ten. */
  readonly issues: readonly string[];

  constructor(issues: readonly string[]) {
    super(`the schema refuses ${issues.join(", ")}`);
    this.issues = issues;
  }
}

const mostIssues = 10;
const cure = "pass a synchronous Standard Schema, such as z.object({ … }) of zod or v.object({ … }) of valibot";

/** @throws {SessionError} `ERR_SESSION_OPTION` */
export function resolveSchema({ schema, version = 0, migrate }: SchemaOptions): ResolvedSchema {
  if (schema !== undefined) checkSchema(schema);
  if (!Number.isSafeInteger(version) || version < 0) refuse("version", version, "write a whole number from 0");
  if (migrate !== undefined && version === 0) refuse("version", version, "migrate needs a version from 1");
  return { schema, version, migrate: functionOf("migrate", migrate) };
}

function checkSchema(schema: StandardSchema): void {
  if (typeof schema?.["~standard"]?.validate !== "function") refuse("schema", schema, cure);
  let result: unknown;
  try {
    result = schema["~standard"].validate({});
  } catch {
    // What it makes of real data is seen then.
  }
  if (isPromise(result)) refuse("schema", "one that is asynchronous", cure);
}

/**
 * Data of a record as the app gets them: upgraded, then as the schema puts them out.
 * @throws {InvalidData} and what `migrate` throws
 */
export function upgraded({ schema, version, migrate }: ResolvedSchema, data: Data, from: number): Data {
  if (from > version) throw new RangeError(`its data have version ${from}, this node's option says ${version}`);
  const current = from < version && migrate !== undefined ? migrate(data, from) : data;
  if (schema === undefined) return asData(current);
  return asData(valid(schema, current));
}

/**
 * Checks data that are to be saved.
 * @throws {SessionError} `ERR_SESSION_SCHEMA`
 */
export function checkData({ schema }: ResolvedSchema, data: Data): void {
  if (schema === undefined) return;
  let reason: string;
  try {
    const given = { ...data };
    const lost = lostPath(given, valid(schema, given), []);
    if (lost === undefined) return;
    reason = `the schema drops ${pathText(lost)}: name it there`;
  } catch (error) {
    reason = error instanceof Error ? error.message : String(error);
  }
  throw new SessionError("ERR_SESSION_SCHEMA", `the session's data can't be saved: ${reason}`);
}

function valid(schema: StandardSchema, data: unknown): unknown {
  const result = schema["~standard"].validate(data);
  if (isPromise(result)) throw new TypeError(`the schema is asynchronous here: ${cure}`);
  if (result.issues === undefined) return result.value;
  const paths = new Set(result.issues.slice(0, mostIssues).map(({ path }) => pathText(path ?? [])));
  throw new InvalidData([...paths]);
}

/** `user.roles[0]`; an issue of the data as a whole: `session`. A segment may be an object with the key. */
function pathText(path: readonly unknown[]): string {
  let text = "";
  for (const segment of path) {
    const key = typeof segment === "object" && segment !== null && "key" in segment ? segment.key : segment;
    text += typeof key === "number" ? `[${key}]` : `${text === "" ? "" : "."}${String(key)}`;
  }
  return text === "" ? "session" : text;
}

/** Where `given` has a value and `kept` has none: it would be gone with the next request. */
function lostPath(given: unknown, kept: unknown, path: readonly string[]): string[] | undefined {
  if (given === kept || !isPlainObject(given) || !isPlainObject(kept)) return undefined;
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const at = [...path, key];
    if (!Object.hasOwn(kept, key)) return at;
    const lost = lostPath(value, kept[key], at);
    if (lost !== undefined) return lost;
  }
  return undefined;
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function asData(value: unknown): Data {
  if (isPlainObject(value)) return value;
  throw new TypeError("what migrate or the schema gave is no object");
}

/** Nobody waits for it: its failure must not end the process. */
function isPromise(value: unknown): value is Promise<unknown> {
  if (typeof value !== "object" || value === null || !("then" in value) || typeof value.then !== "function")
    return false;
  if (value instanceof Promise) value.catch(() => {});
  return true;
}
