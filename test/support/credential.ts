/** Credentials made by a test. */
import type { Credential } from "#contract/credential.ts";
import { SHOWN } from "#core/secret.ts";

let versions = 1_000_000;

export function madeCredential(
  given: Partial<Omit<Credential, "reveal" | "toJSON">> & { readonly secret: string },
): Credential {
  const { secret, ...shape } = given;
  return {
    name: "billing",
    kind: "bearer",
    user: null,
    field: null,
    prefix: null,
    database: null,
    certificate: null,
    version: ++versions,
    ...shape,
    reveal: () => secret,
    toJSON: () => SHOWN,
  };
}
