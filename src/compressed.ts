/**
 * Compression of large records on the way to the store: a transform for options' `transforms`; knows no session. zlib runs
 * in the request's own tick, so it is worth it where records are large and the network, or Redis's memory, is the limit.
 */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { SessionError } from "./errors.ts";
import { refuse, refuseUnknown } from "./option-checks.ts";
import type { Transform } from "./record.ts";

/** The first byte says how the rest is to be read. */
const asItIs = 0;
const deflated = 1;

/** What `compressed` takes; both in bytes. */
export interface CompressedOptions {
  /** Only larger records are compressed. @default 4096 */
  above?: number;
  /**
   * Largest record before compression: more is refused when it is written, and garbage when it is read, so that a small
   * record can't blow up a process's memory. @default 1_048_576
   */
  limit?: number;
}

/**
 * A transform for `transforms`, before `sealed()`: what is sealed does not shrink. One byte is added to each record;
 * one that would not become smaller is left as it is. `maxRecordSize` counts what comes out.
 *
 * The length of a compressed record tells something of its content to who can read the store and choose part of that
 * content, sealed or not.
 * @throws {SessionError} `ERR_SESSION_OPTION`; `apply` throws `ERR_SESSION_TOO_LARGE`
 */
export function compressed(options: CompressedOptions = {}): Transform {
  if (typeof options !== "object" || options === null) refuse("compressed", options, "pass { above, limit }");
  refuseUnknown("compressed.", options, ["above", "limit"]);
  const above = sizeOf("above", options.above ?? 4096, 0);
  const limit = sizeOf("limit", options.limit ?? 1_048_576, 1024);
  return {
    apply(bytes) {
      if (bytes.byteLength > limit) {
        throw new SessionError(
          "ERR_SESSION_TOO_LARGE",
          `the session takes ${bytes.byteLength} bytes before compression, more than compressed({ limit: ${limit} }): keep large things elsewhere and their id in the session, or raise the limit`,
        );
      }
      const smaller = bytes.byteLength > above ? deflateRawSync(bytes) : bytes;
      return smaller.byteLength < bytes.byteLength ? marked(deflated, smaller) : marked(asItIs, bytes);
    },
    undo(bytes) {
      const body = bytes.subarray(1);
      if (bytes[0] === asItIs) return body;
      if (bytes[0] !== deflated) throw new RangeError("it is not a record that compressed() wrote");
      try {
        return inflateRawSync(body, { maxOutputLength: limit });
      } catch {
        throw new RangeError(`it does not decompress to at most ${limit} bytes`);
      }
    },
  };
}

function marked(mark: number, bytes: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.of(mark), bytes]);
}

function sizeOf(name: string, value: unknown, least: number): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= least) return value;
  return refuse(`compressed.${name}`, value, `write a whole number of bytes from ${least}`);
}
