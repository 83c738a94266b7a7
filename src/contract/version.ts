/** Sidegate's version; equal to package.json's (a test). */
export const VERSION = "0.1.0";

/** `v` of an operation: what policies read is of this shape. */
export const OPERATION_VERSION = 1;
