/** What the examples keep in a session: one declaration for all three frameworks. */
declare module "holdfast" {
  interface SessionData {
    user?: string;
    views?: number;
    csrfToken?: string | undefined;
    csrfBinding?: string;
  }
}

export {};
