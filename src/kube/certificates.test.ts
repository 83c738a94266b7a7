import { X509Certificate } from "node:crypto";
import { connect, createServer, type TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import { fakeKube } from "../../test/support/kube.ts";
import { keepCertificates, ROTATE, type SecretObject } from "./certificate-keeper.ts";
import { type CertificateData, certificatesDue } from "./certificates.ts";
import { RESOURCE } from "./resources.ts";

const DAY = 86_400_000;
const NOW = Date.now();
const NAMES = ["hook.sidegate.svc", "controller.sidegate.svc"];
const wishes = { names: NAMES, nowMs: NOW, rotate: "", settleMs: 60_000 } as const;
const first = certificatesDue(null, wishes);

async function trusts(ca: string, data: CertificateData): Promise<boolean> {
  const server = createServer({ cert: data["tls.crt"], key: data["tls.key"] }, (socket: TLSSocket) => socket.end());
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  try {
    return await new Promise<boolean>((resolve) => {
      const socket = connect({ host: "127.0.0.1", port, ca, servername: NAMES[0] ?? "" }, () =>
        resolve(socket.authorized),
      );
      socket.on("error", () => resolve(false));
      socket.resume();
    });
  } finally {
    server.close();
  }
}

test("a first certificate is good for every name, and nothing is due afterwards", async () => {
  const leaf = new X509Certificate(first["tls.crt"]);
  expect(NAMES.every((name) => leaf.checkHost(name) !== undefined)).toBe(true);
  expect(await trusts(first["ca.crt"], first)).toBe(true);
  expect(certificatesDue(first, wishes)).toBe(first);
});

test.each([
  ["with 29 days left", { nowMs: NOW + 61 * DAY }],
  ["for a name that it does not bear", { names: [...NAMES, "new.sidegate.svc"] }],
  ["when an administrator asks", { rotate: "leaf" as const }],
])("a leaf is renewed %s, by the same authority", (_what, changed) => {
  const next = certificatesDue(first, { ...wishes, ...changed });
  expect(next["tls.crt"]).not.toBe(first["tls.crt"]);
  expect(next["ca.crt"]).toBe(first["ca.crt"]);
});

test("an authority is replaced in steps; who was given only the old one, or only the new one, trusts us in each", async () => {
  const published = certificatesDue(first, { ...wishes, rotate: "ca" });
  expect(published["tls.crt"]).toBe(first["tls.crt"]);
  expect(published["ca.crt"]).toBe(first["ca.crt"] + published["next.crt"]);
  expect(certificatesDue(published, { ...wishes, nowMs: NOW + 59_000 })).toBe(published);
  const replaced = certificatesDue(published, { ...wishes, nowMs: NOW + 61_000 });
  expect(replaced["ca.crt"]).toBe(published["next.crt"] + first["ca.crt"]);
  expect(replaced["next.key"]).toBe("");
  expect(await trusts(first["ca.crt"], replaced)).toBe(true);
  expect(await trusts(published["next.crt"], replaced)).toBe(true);
  const renewed = certificatesDue(replaced, { ...wishes, nowMs: NOW + 61_000, rotate: "leaf" });
  expect(await trusts(first["ca.crt"], renewed)).toBe(true);
});

test("an authority near its end is replaced by itself", () => {
  const published = certificatesDue(first, { ...wishes, nowMs: NOW + 3_000 * DAY });
  expect(published["next.crt"]).not.toBe("");
});

test.each([
  ["half of another pair", { "tls.crt": certificatesDue(null, wishes)["tls.crt"] }],
  ["no certificate at all", { "tls.crt": "x" }],
])("a Secret with %s is made anew", (_what, spoilt) => {
  const made = certificatesDue({ ...first, ...spoilt }, wishes);
  expect(made["ca.crt"]).not.toBe(first["ca.crt"]);
});

test("five replicas that start together make one Secret", async () => {
  const kube = fakeKube();
  const options = {
    kube,
    secret: { namespace: "sidegate", name: "certificates" },
    names: NAMES,
    clock: { wallMs: () => NOW, elapsedMs: () => 0 },
  };
  const all = await Promise.all(Array.from({ length: 5 }, () => keepCertificates(options)));
  expect(new Set(all.map((data) => data["tls.crt"])).size).toBe(1);
  await kube.patch(RESOURCE.secret, options.secret, { metadata: { annotations: { [ROTATE]: "leaf" } } });
  const again = await Promise.all(Array.from({ length: 5 }, () => keepCertificates(options)));
  expect(new Set(again.map((data) => data["tls.crt"])).size).toBe(1);
  expect(again[0]?.["tls.crt"]).not.toBe(all[0]?.["tls.crt"]);
  const secret = await kube.get<SecretObject>(RESOURCE.secret, options.secret);
  expect(secret?.metadata.annotations?.[ROTATE]).toBeUndefined();
});

test("where somebody else issues, it is read and never written, also when it is about to end; without it nobody starts", async () => {
  const kube = fakeKube();
  const secret = { namespace: "sidegate", name: "certificates" };
  const options = {
    kube,
    secret,
    names: NAMES,
    by: "secret",
    clock: { wallMs: () => NOW, elapsedMs: () => 0 },
  } as const;
  await expect(keepCertificates(options)).rejects.toThrow("has no tls.crt and ca.crt yet");
  expect(await kube.get(RESOURCE.secret, secret)).toBeNull();
  const members = ["ca.crt", "tls.crt", "tls.key"] as const;
  const data = Object.fromEntries(members.map((name) => [name, Buffer.from(first[name]).toString("base64")]));
  await kube.create<SecretObject>(RESOURCE.secret, { metadata: secret, data });
  const late = { ...options, names: ["another.name"], clock: { wallMs: () => NOW + 89 * DAY, elapsedMs: () => 0 } };
  expect(await keepCertificates(late)).toMatchObject({
    "ca.crt": first["ca.crt"],
    "tls.crt": first["tls.crt"],
    "ca.key": "",
  });
});
