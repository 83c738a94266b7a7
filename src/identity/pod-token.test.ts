import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { beforeAll, expect, test } from "vitest";
import { createPodTokens, type PodTokens } from "./pod-token.ts";

const NOW = 1_900_000_000_000;
const ISSUER = "https://kubernetes.default.svc.cluster.local";
const BOUND = {
  namespace: "team",
  pod: { name: "agent", uid: "7d1c" },
  serviceaccount: { name: "default", uid: "1" },
  node: { name: "node-1", uid: "2" },
};

let tokens: PodTokens;
let key: CryptoKey;
let other: CryptoKey;

beforeAll(async () => {
  const pair = await generateKeyPair("ES256");
  key = pair.privateKey;
  other = (await generateKeyPair("ES256")).privateKey;
  const jwk = await exportJWK(pair.publicKey);
  tokens = createPodTokens({
    keys: { keys: [{ ...jwk, kid: "k1", alg: "ES256" }] },
    issuer: ISSUER,
    wallMs: () => NOW,
  });
});

interface Changed {
  readonly claim?: unknown;
  readonly audience?: string;
  readonly issuer?: string;
  readonly expires?: number;
  readonly kid?: string;
}

function signed(changed: Changed = {}, by: CryptoKey = key): Promise<string> {
  const { claim = BOUND, audience = "sidegate", issuer = ISSUER, expires = 3600, kid = "k1" } = changed;
  const seconds = NOW / 1000;
  return new SignJWT({ "kubernetes.io": claim })
    .setProtectedHeader({ alg: "ES256", kid })
    .setIssuer(issuer)
    .setAudience(audience)
    .setIssuedAt(seconds - 10)
    .setNotBefore(seconds - 10)
    .setExpirationTime(seconds + expires)
    .sign(by);
}

test("a token that the kubelet asked for names its pod", async () => {
  expect(await tokens(`Bearer ${await signed()}`)).toEqual({
    kind: "pod",
    identity: { namespace: "team", pod: "agent", uid: "7d1c", serviceAccount: "default", node: "node-1" },
  });
});

test.each<[string, Changed, string]>([
  ["another audience", { audience: "https://kubernetes.default.svc" }, "claims"],
  ["another issuer", { issuer: "https://evil.example" }, "claims"],
  ["an expired one", { expires: -60 }, "expired"],
  ["one that is bound to no pod", { claim: { namespace: "team", serviceaccount: { name: "default" } } }, "claims"],
  ["one that is bound to a Secret", { claim: { ...BOUND, pod: undefined, secret: { name: "x" } } }, "claims"],
  ["a key that we do not know", { kid: "k2" }, "signature"],
])("%s names nobody", async (_what, changed, why) => {
  expect(await tokens(`Bearer ${await signed(changed)}`)).toEqual({ kind: "refused", why });
});

test("a token signed by somebody else names nobody", async () => {
  expect(await tokens(`Bearer ${await signed({}, other)}`)).toEqual({ kind: "refused", why: "signature" });
});

test("an unsigned token names nobody", async () => {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const unsigned = `${part({ alg: "none" })}.${part({ iss: ISSUER, aud: "sidegate", exp: NOW, "kubernetes.io": BOUND })}.`;
  expect(await tokens(`Bearer ${unsigned}`)).toMatchObject({ kind: "refused" });
});

test.each([
  [null, "absent"],
  ["", "malformed"],
  ["Basic abc", "malformed"],
  ["Bearer a b", "malformed"],
  [`Bearer ${"a".repeat(9000)}`, "malformed"],
  ["Bearer a.b.c", "malformed"],
])("%j is no pod's token", async (authorization, why) => {
  expect(await tokens(authorization)).toEqual({ kind: "refused", why });
});
