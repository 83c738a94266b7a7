/**
 * Whether a request makes, shows or changes an authenticator (THREATS H5): token endpoints, API keys, passwords, sessions. Only asked
 * of targets whose credential we put in: there the answer would hand the agent a secret of its own, good without us.
 *
 * Errs towards yes: an act that is taken for one needs a policy that allows exactly that.
 */

const setOf = (words: string): ReadonlySet<string> => new Set(words.split(" "));

/** What authenticates, singular. */
const NOUNS = setOf("token key secret credential password passwd jwt authorization session login signin");
/** What stands before it, in any number: `personal_access_tokens`, `service-account-keys`. */
const KINDS =
  "access api auth oauth oauth2 bearer refresh session personal installation registration remove service account deploy user app application client shared root ssh gpg signing sts security impersonation identity id scoped temporary ephemeral generate create rotate regenerate list reset change revoke".split(
    " ",
  );
/** Named alike, and nothing of the kind. */
const OTHER = setOf("counttokens inputtokens outputtokens tokenize");
/** Plain words that a page may be called by as well: acting on it is what counts. */
const READABLE = setOf("key keys session sessions secret secrets login signin");
/** Acts without such a noun. */
const ACTS = setOf("signblob signjwt assumerole getfederationtoken magiclink");
/** AWS's query protocol names the act in a parameter. */
const ACTIONS =
  /^(?:assumerole|getsession|getfederation|(?:create|update|reset|change)(?:access|login|service|password))/;

/** A name stands at the end, or before an id, or before a verb on it. */
const LAST_SEGMENTS = 3;
const MAX_WORD = 64;

/** `query`: as on the wire. */
export function touchesAuthenticator(method: string, segments: readonly string[], query: string | null): boolean {
  if (method === "OPTIONS") return false;
  const reads = method === "GET" || method === "HEAD";
  for (const segment of segments.slice(-LAST_SEGMENTS)) {
    // `accounts/x:generateAccessToken`, `token.json`
    for (const part of segment
      .slice(0, 4 * MAX_WORD)
      .toLowerCase()
      .split(/[:.]/)) {
      const word = part.replaceAll(/[^a-z0-9]/g, "");
      if (isAuthenticator(word) && !(reads && READABLE.has(word))) return true;
    }
  }
  return query !== null && query.split("&").some(actsOnOne);
}

function isAuthenticator(word: string): boolean {
  if (word.length > MAX_WORD || OTHER.has(word)) return false;
  if (ACTS.has(word)) return true;
  const singular = word.endsWith("s") && !NOUNS.has(word) ? word.slice(0, -1) : word;
  for (const noun of NOUNS)
    if (singular.endsWith(noun) && areKinds(singular.slice(0, singular.length - noun.length))) return true;
  return false;
}

/** Whether this is nothing but words of KINDS; the longest first, so that `oauth2` is not `oauth` and a rest. */
function areKinds(text: string): boolean {
  let rest = text;
  while (rest !== "") {
    const kind = LONGEST_FIRST.find((each) => rest.startsWith(each));
    if (kind === undefined) return false;
    rest = rest.slice(kind.length);
  }
  return true;
}

const LONGEST_FIRST = KINDS.toSorted((a, b) => b.length - a.length);

function actsOnOne(parameter: string): boolean {
  const [name = "", value = ""] = parameter.split("=");
  return name.toLowerCase() === "action" && ACTIONS.test(value.toLowerCase());
}
