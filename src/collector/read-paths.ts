/** What both ends of a reader's question share: paths and bounds. */
export const READ_PATHS = ["/v1/find", "/v1/get", "/v1/tip", "/v1/coverage", "/v1/accept"] as const;
/** Records in one answer. */
export const MAX_FOUND = 5_000;
