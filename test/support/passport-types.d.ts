/** Packages of Passport's family that have no types: what the tests use of them. */
declare module "koa-passport" {
  import type { Middleware } from "koa";
  import type { AuthenticateOptions, Strategy } from "passport";
  export class KoaPassport {
    use(name: string, strategy: Strategy): this;
    serializeUser<User, Stored>(fn: (user: User, done: (error: unknown, stored?: Stored) => void) => void): void;
    deserializeUser<User, Stored>(fn: (stored: Stored, done: (error: unknown, user?: User) => void) => void): void;
    initialize(): Middleware;
    session(): Middleware;
    authenticate(name: string, options?: AuthenticateOptions): Middleware;
  }
}
declare module "connect-flash" {
  /** Gives its first argument a `flash` method that works on that object's `session`. */
  function flash(): (request: object, response: object, next: () => void) => void;
  export = flash;
}
