import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  authorityCertificate,
  distinguishedName,
  keyIdOf,
  LeafNameError,
  leafCertificate,
  pem,
  spkiOf,
} from "./certificate.ts";

const DAY = 86_400_000;
const now = Date.UTC(2026, 5, 1, 12);
const validity = { fromMs: now, untilMs: now + 7 * DAY };
const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const spki = spkiOf(publicKey);
const issuer = { subject: distinguishedName("Sidegate pod CA test"), key: privateKey, keyId: keyIdOf(spki) };
const authority = new X509Certificate(authorityCertificate(issuer, spki, validity));
const leafKey = spkiOf(generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey);
const leaf = (name: string): X509Certificate => new X509Certificate(leafCertificate(issuer, name, leafKey, validity));

test("the authority signs itself and is an authority", () => {
  expect(authority.ca).toBe(true);
  expect(authority.subject).toBe("CN=Sidegate pod CA test");
  expect(authority.verify(publicKey)).toBe(true);
  expect(authority.checkPrivateKey(privateKey)).toBe(true);
});

test("a leaf is for its name only, signed by the authority, and no authority", () => {
  const made = leaf("api.example.com");
  expect(made.verify(publicKey)).toBe(true);
  expect(made.checkIssued(authority)).toBe(true);
  expect(made.ca).toBe(false);
  expect(made.subjectAltName).toBe("DNS:api.example.com");
  expect(made.checkHost("api.example.com")).toBe("api.example.com");
  expect(made.checkHost("example.com")).toBeUndefined();
  expect(made.checkHost("www.api.example.com")).toBeUndefined();
  expect(made.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
  expect(made.validFromDate.getTime()).toBe(now);
  expect(made.validToDate.getTime()).toBe(now + 7 * DAY);
});

test.each([
  ["10.0.0.7", "IP Address:10.0.0.7"],
  ["fd53::7", "IP Address:FD53:0:0:0:0:0:0:7"],
  ["::", "IP Address:0:0:0:0:0:0:0:0"],
  ["::ffff:10.0.0.7", "IP Address:0:0:0:0:0:FFFF:A00:7"],
])("the literal address %s stands as an address", (name, alternative) => {
  const made = leaf(name);
  expect(made.subjectAltName).toBe(alternative);
  expect(made.checkIP(name)).toBe(name);
});

test("a name longer than a common name may be leaves the subject empty", () => {
  const name = `${"a".repeat(53)}.example.com`; // 65
  expect(leaf(name.slice(1)).subject).toBe(`CN=${name.slice(1)}`);
  expect(leaf(name).subject ?? "").toBe("");
  expect(leaf(name).checkHost(name)).toBe(name);
});

test("serials are positive, long, and never the same", () => {
  const serials = new Set(Array.from({ length: 50 }, () => leaf("a.example").serialNumber));
  expect(serials.size).toBe(50);
  for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/);
});

describe("what cannot be a name gets no certificate", () => {
  test.each([
    "",
    ".",
    "a..b",
    "a.example.",
    "A.example",
    "*.example.com",
    "a b",
    "a\0b",
    "a,DNS:evil.example",
    "ä.example",
    "-a.example",
    "1.2.3",
    "127.1",
    "0x7f.1.2.3.4",
    "010.0.0.1",
    "[::1]",
    "fe80::1%eth0",
    "a.example:443",
    "x".repeat(64),
    `${"a.".repeat(127)}a`,
  ])("%j", (name) => {
    expect(() => leaf(name)).toThrow(LeafNameError);
  });

  test("and what it throws names it only in part, escaped", () => {
    expect(() => leaf(`\n${"x".repeat(500)}`)).toThrow(/^no certificate can be made for "\\nx{79}"$/);
  });
});

test("PEM has lines of 64 characters", () => {
  const text = pem(authority.raw);
  expect(new X509Certificate(text).raw.equals(authority.raw)).toBe(true);
  for (const line of text.trimEnd().split("\n").slice(1, -2)) expect(line).toHaveLength(64);
  expect(pem(new Uint8Array(48))).toBe(`-----BEGIN CERTIFICATE-----\n${"A".repeat(64)}\n-----END CERTIFICATE-----\n`);
});
