/**
 * Which names of header fields and parameters carry what authenticates: by their words, so that `X-Acme-Access-Token` counts and
 * `X-Ratelimit-Remaining-Tokens` does not.
 *
 * Errs towards yes, but for the tokens that only page through a list.
 */

/** The last word of a name. */
const LAST = new Set(
  "token secret signature password passwd passphrase credential credentials authorization authentication cookie cookie2 jwt assertion apikey accesskey authtoken apitoken accesstoken bearertoken privatetoken securitytoken sessiontoken refreshtoken idtoken accesskeyid awsaccesskeyid ossaccesskeyid googleaccessid hmac otp authkey secretkey hapikey skey dpop samlresponse samlart auth oauth".split(
    " ",
  ),
);
/** What goes before `token` where it authenticates nobody. */
const PAGING = new Set("page next previous prev continuation continue sync delta cancel cursor idempotency".split(" "));
/** What goes before `key`. */
const KEYS = new Set(
  "api access auth private secret subscription functions account license app application consumer client service master sas signing sharing session".split(
    " ",
  ),
);
/** Whole names. */
const WHOLE = new Set("pwd pass bearer sig sas x-auth x-authorization x-clickhouse-key key-pair-id".split(" "));
/** Whole names of parameters, where the value looks like a key: servers use them for other things, too. */
const MAYBE = new Set(["key", "sid", "k", "code", "ticket", "session", "sessionid", "resourcekey", "pat"]);

function words(name: string): string[] {
  return name
    .replaceAll(/([a-z0-9])([A-Z])/g, "$1-$2")
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== "");
}

/** `name` as it is written, any case. */
export function isAuthenticatorName(name: string): boolean {
  const lower = name.toLowerCase();
  if (WHOLE.has(lower)) return true;
  const parts = words(name);
  // `api-key-v2`, `X-API-KEY2`: which edition of it is no matter.
  if (parts.length > 1 && /^v?\d+$/.test(parts.at(-1) ?? "")) parts.pop();
  const edition = /^(.*[a-z])\d$/.exec(parts.at(-1) ?? "")?.[1];
  if (edition !== undefined) parts[parts.length - 1] = edition;
  if (parts.includes("authorization")) return true;
  // RFC 9440, and what proxies tell their upstream of a client's certificate: an upstream that believes it takes it for a proof.
  if (parts.includes("client") && parts.some((word) => word === "cert" || word === "certificate")) return true;
  if (LAST.has(parts.join(""))) return true;
  const last = parts.at(-1) ?? "";
  const before = parts.at(-2) ?? "";
  if (LAST.has(last)) return !(last === "token" && PAGING.has(before));
  if (last === "key" || (last === "id" && before === "key"))
    return KEYS.has((last === "key" ? before : parts.at(-3)) ?? "");
  return parts[0] === "x" && parts[1] === "auth";
}

/** A query parameter; `value` decoded. Presigned URLs are among them: their signature authenticates whoever made them. */
export function isAuthenticatorParameter(name: string, value: string): boolean {
  if (isAuthenticatorName(name)) return true;
  return MAYBE.has(name.toLowerCase()) && value.length >= 16 && /^[\w.~+/=-]+$/.test(value);
}
