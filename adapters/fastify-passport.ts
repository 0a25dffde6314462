/**
 * One login for Express, Koa and Fastify: Passport keeps `{ user: <stored> }` under `session.passport`, @fastify/passport
 * keeps `<stored>` alone, and logs out whom it can't read. These two make it write and read Passport's shape. Exported
 * by `fastify.ts`; they patch nothing and import no Passport.
 */
import type { FastifyRequest } from "fastify";

/** What Passport keeps in the session, in every framework. */
export interface StoredLogin<Stored> {
  user: Stored;
}

/**
 * For `fastifyPassport.registerUserSerializer(passportSerializer((user) => user.id))`.
 *
 * @param serialize as for @fastify/passport: the value to store for a user; `null` and `undefined` are refused there
 */
export function passportSerializer<User, Stored>(
  serialize: (user: User, request: FastifyRequest) => Stored | Promise<Stored>,
): (user: User, request: FastifyRequest) => Promise<StoredLogin<NonNullable<Stored>> | undefined> {
  return async (user, request) => {
    const stored = await serialize(user, request);
    return stored === undefined || stored === null ? undefined : { user: stored };
  };
}

/**
 * For `fastifyPassport.registerUserDeserializer(passportDeserializer((id) => users.find(id)))`. Reads what
 * @fastify/passport stored without the serializer above, too.
 *
 * @param deserialize as for @fastify/passport: the user; `null` or `false` when there is none any more, which logs out
 */
export function passportDeserializer<Stored, User>(
  deserialize: (stored: Stored, request: FastifyRequest) => User | Promise<User>,
): (login: StoredLogin<Stored> | Stored, request: FastifyRequest) => Promise<User> {
  return async (login, request) => deserialize(isLogin(login) ? login.user : login, request);
}

function isLogin<Stored>(login: StoredLogin<Stored> | Stored): login is StoredLogin<Stored> {
  return typeof login === "object" && login !== null && "user" in login && Object.keys(login).length === 1;
}
