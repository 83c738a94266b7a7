import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { Secret } from "#core/secret.ts";
import { certificateFor } from "../../test/support/sidecar-upstream.ts";
import { CredentialFault, readIssued, writeIssued } from "./credential.ts";

const VALUE = "a-value-of-this-test";
const given = (over: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => ({
  kind: "bearer",
  secret: VALUE,
  expiresInMs: null,
  refreshInMs: 60_000,
  ...over,
});

function faultOf(value: unknown): string {
  try {
    readIssued(value);
    return "none";
  } catch (fault) {
    if (fault instanceof CredentialFault) return fault.message;
    throw fault;
  }
}

test("a secret shows itself to nobody who did not ask, and to nobody at all once it is wiped", () => {
  const secret = new Secret(VALUE);
  const around = { secret, list: [secret] };
  for (const text of [String(secret), JSON.stringify(around), inspect(around, { depth: 9, showHidden: true })])
    expect(text).not.toContain(VALUE);
  expect(JSON.stringify(secret)).toBe('"[credential]"');
  expect(secret.reveal()).toBe(VALUE);
  secret.wipe();
  expect(secret.wiped).toBe(true);
  expect(() => secret.reveal()).toThrow("wiped");
});

describe("a credential on its way between processes", () => {
  test("arrives as it was issued", () => {
    const issued = readIssued(given({ kind: "header", field: "X-Api-Key", prefix: "Token " }));
    expect(writeIssued(issued)).toEqual({
      ...given({ kind: "header", field: "X-Api-Key", prefix: "Token " }),
      user: null,
      database: null,
      certificate: null,
    });
  });

  test.each<[string, Readonly<Record<string, unknown>>]>([
    ["its kind is not known", { kind: "magic" }],
    ["a member that is not known", { extra: 1 }],
    ["the secret is missing", { secret: "" }],
    ["the secret is missing", { secret: "x".repeat(20_000) }],
    ["cannot stand in a header field", { secret: "split\r\nX-Evil: 1" }],
    ["cannot stand in a header field", { secret: "ends in space " }],
    ["shorter than", { secret: "short" }],
    ["needs the name of its field", { kind: "header" }],
    ["cannot carry a credential", { kind: "header", field: "Host" }],
    ["is not a field that can carry", { kind: "header", field: "Content-Length" }],
    ["cannot stand in a header field", { kind: "header", field: "X-Key", prefix: "a\r\nb" }],
    ["needs the name of its parameter", { kind: "query", field: "a&b" }],
    ["without a colon", { kind: "basic", user: "a:b" }],
    ["no zero byte", { kind: "password", secret: "a\0b" }],
    ["its certificate is no PEM", { kind: "clientCertificate", certificate: "x" }],
    ["expiresInMs is no duration", { expiresInMs: -1 }],
    ["refreshInMs is no duration", { refreshInMs: 0 }],
  ])("is refused where %s", (why, over) => {
    const said = faultOf(given(over));
    expect(said).toContain(why === "cannot carry a credential" ? "is not a field that can carry a credential" : why);
    expect(said).not.toContain(VALUE);
  });

  test("is refused where a key does not belong to its certificate", () => {
    const [ada, bob] = [certificateFor("ada.example"), certificateFor("bob.example")];
    const kind = "clientCertificate";
    expect(faultOf(given({ kind, certificate: ada.cert, secret: ada.key }))).toBe("none");
    expect(faultOf(given({ kind, certificate: ada.cert, secret: bob.key }))).toContain("does not belong");
  });
});
