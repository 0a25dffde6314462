/** The one declaration of the consumer's data, for whichever framework it uses. */
declare module "holdfast" {
  interface SessionData {
    userId?: string;
    views?: number;
  }
}

export {};
