/**
 * A password as SASL compares it (RFC 4013, SASLprep). Printable ASCII is its own prepared form, so the tables are loaded only
 * for the rare other one.
 *
 * Errs as PostgreSQL does: what SASLprep forbids, and what is no UTF-8, is used as it is, on both sides alike.
 */

// Printable ASCII: nothing in RFC 3454's tables changes or forbids it.
const PLAIN = /^[\x20-\x7e]*$/;

export function preparePassword(password: string): string | Promise<string> {
  return PLAIN.test(password) ? password : prepared(password);
}

async function prepared(password: string): Promise<string> {
  const { saslprep } = await import("@mongodb-js/saslprep");
  try {
    // As PostgreSQL's pg_saslprep: a stored string, unassigned code points forbidden (RFC 3454 section 7).
    const text = saslprep(password);
    return text === "" ? password : text;
  } catch {
    return password;
  }
}
