/**
 * PostgreSQL's md5 authentication (AuthenticationMD5Password). Weak: it binds to nothing, and what the server stores is as good as
 * the password. Given to an upstream only where its target says so.
 */
import { createHash } from "node:crypto";

/** `"md5" + md5(md5(password + user) + salt)`, hex. `salt`: the four bytes of the request. */
export function md5Password(user: string, password: string, salt: Uint8Array): string {
  const inner = createHash("md5").update(password, "utf8").update(user, "utf8").digest("hex");
  return `md5${createHash("md5").update(inner).update(salt).digest("hex")}`;
}
