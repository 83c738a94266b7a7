/** Time limits of a connection where its target says none, in milliseconds; 0: none. A file of its own: the schema beside it is heavy. */
export const LIMITS = { headerMs: 10_000, idleMs: 300_000, totalMs: 0, connectMs: 5_000 } as const;
