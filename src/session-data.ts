/**
 * The type of the user's data, to be augmented once for all frameworks. It stands alone as a module augmentation
 * reaches only what is re-exported with `export *`.
 */

/**
 * The data of your sessions:
 * `declare module "holdfast" { interface SessionData { userId?: string } }`.
 */
// biome-ignore lint/suspicious/noEmptyInterface: users add to it by declaration merging, which a type alias has not
export interface SessionData {}
