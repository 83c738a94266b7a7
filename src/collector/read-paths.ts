/** What both ends of a reader's question share: paths and bounds. */
export const READ_PATHS = ["/v1/find", "/v1/get", "/v1/tip", "/v1/coverage", "/v1/accept"] as const;
/** `code` of the answer that there is no such record: a 404 without it is somebody else's, as of the API server's proxy. */
export const NO_RECORD = "no_record";
/** Records in one answer. */
export const MAX_FOUND = 5_000;
/** Bytes of records after which an answer ends (`more: true`): whoever asked goes on from its last one. */
export const MAX_FOUND_BYTES = 16 * 1024 * 1024;
