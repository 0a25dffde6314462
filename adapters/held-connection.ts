/**
 * The connection of a held response. An app that answers twice finds the response sent, and Express's final handler then
 * calls `req.socket.destroy()`: by that time the first answer would have been on its way. While it is held, a `destroy()`
 * without arguments is kept, to be made behind it. Errors, a client that went away and an end by itself pass at once.
 * Used by `held-response.ts`.
 */
import { cutKey, type GatedResponse, type HeldConnection } from "./gated-response.ts";

/**
 * From now on `keep` gets each `destroy()` of the connection of `response`, to be called later.
 *
 * @returns ends that; the connection's `destroy()` is its own again
 */
export function holdConnection({ stream, socket }: GatedResponse, keep: (cut: () => void) => void): () => void {
  const connection = stream ?? socket ?? undefined;
  if (connection === undefined) return () => {};
  if (!Object.hasOwn(connection, cutKey)) takeOver(connection);
  connection[cutKey] = keep;
  return () => {
    connection[cutKey] = undefined;
  };
}

/** Once a connection, which carries many responses. */
function takeOver(connection: HeldConnection): void {
  const { destroy } = connection;
  connection.destroy = function held(this: HeldConnection, ...args) {
    const keep = connection[cutKey];
    // A connection that has ended, or was reset, destroys itself: nothing can be sent behind that.
    if (keep === undefined || args.length > 0 || connection.writableEnded || connection.closed === true) {
      return Reflect.apply(destroy, connection, args);
    }
    keep(() => void Reflect.apply(destroy, connection, []));
    return connection;
  };
}
