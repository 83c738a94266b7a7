import { request } from "node:https";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BUNDLE_PATH } from "#contract/control-environment.ts";
import { certificatesDue } from "#kube/certificates.ts";
import { type BundleServer, type Offer, serveBundles } from "./bundle-server.ts";

const certificates = certificatesDue(null, { names: ["localhost"], nowMs: Date.now(), rotate: "", settleMs: 0 });
let server: BundleServer;
let etag: string;
let offer: ((uid: string) => Offer) | null;

beforeEach(async () => {
  etag = '"1"';
  offer = null;
  server = await serveBundles(
    {
      certificate: { cert: certificates["tls.crt"], key: certificates["tls.key"] },
      authenticate: (authorization) =>
        Promise.resolve(
          authorization?.startsWith("Bearer pod-") === true
            ? {
                kind: "pod",
                identity: { namespace: "a", pod: "p", uid: authorization.slice(7), serviceAccount: "d", node: "" },
              }
            : { kind: "refused", why: "signature" },
        ),
      offer: (uid) =>
        offer?.(uid) ?? { kind: "bundle", etag, issue: () => ({ etag, archive: Buffer.from(`${uid} ${etag}`) }) },
      ready: () => true,
      metrics: () => ({ type: "text/plain", text: "figures\n" }),
      onFault: () => undefined,
      answered: () => undefined,
    },
    { host: "127.0.0.1", port: 0 },
  );
});
afterEach(() => server.close());

interface Answer {
  readonly status: number;
  readonly etag: string | undefined;
  readonly body: string;
}

function get(headers: Record<string, string>, path: string = BUNDLE_PATH, method = "GET"): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const to = { host: "127.0.0.1", port: server.port, servername: "localhost", ca: certificates["ca.crt"] };
    const asked = request({ ...to, path, method, agent: false, headers }, (answer) => {
      let body = "";
      answer.setEncoding("utf8").on("data", (part: string) => {
        body += part;
      });
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, etag: answer.headers.etag, body }));
    });
    asked.on("error", reject).end();
  });
}
const pod = (uid: string, more: Record<string, string> = {}) => ({ authorization: `Bearer ${uid}`, ...more });
const waits = (uid: string) => get(pod(uid, { "if-none-match": etag, prefer: "modes=snapshot;wait=30" }));
const waiting = async (count: number): Promise<void> => {
  while (server.waiting !== count) await new Promise((resolve) => setImmediate(resolve));
};

test("a pod is given its bundle, then 304 for the same", async () => {
  const first = await get(pod("pod-1"));
  expect(first).toEqual({ status: 200, etag: '"1"', body: 'pod-1 "1"' });
  expect(await get(pod("pod-1", { "if-none-match": '"1"' }))).toMatchObject({ status: 304, body: "" });
});

test("a request is held until there is something else for that pod, and only that one is answered", async () => {
  const [one, two] = [waits("pod-1"), waits("pod-2")];
  await waiting(2);
  etag = '"2"';
  server.wake(["pod-1"]);
  expect((await one).body).toBe('pod-1 "2"');
  expect(server.waiting).toBe(1);
  server.wake(["pod-2"]);
  expect((await two).body).toBe('pod-2 "2"');
});

test("a pod that asks a third time has the first of its held requests answered", async () => {
  const all = [waits("pod-1")];
  await waiting(1);
  all.push(waits("pod-1"));
  await waiting(2);
  all.push(waits("pod-1"));
  expect((await all[0])?.status).toBe(304);
  await waiting(2);
});

test("a pod that is not known yet is kept waiting for a moment, and given its bundle as soon as it is known", async () => {
  offer = () => ({ kind: "none", status: 503, why: "this pod is not known here (yet)" });
  const held = get(pod("pod-1", { prefer: "wait=30" }));
  await waiting(1);
  offer = null;
  server.wake(["pod-1"]);
  expect(await held).toMatchObject({ status: 200, body: 'pod-1 "1"' });
});

test("what is refused is refused at once, also to who would wait", async () => {
  offer = () => ({ kind: "none", status: 403, why: "the request does not come from the pod's address" });
  expect(await get(pod("pod-1", { prefer: "wait=30" }))).toMatchObject({ status: 403 });
  offer = () => ({ kind: "none", status: 503, why: "its policies have not been compiled" });
  expect(await get(pod("pod-1"))).toMatchObject({ status: 503, body: "its policies have not been compiled\n" });
});

test("whoever brings no token of a pod, another path or another method gets nothing", async () => {
  expect(await get({})).toMatchObject({ status: 401 });
  expect(await get({ authorization: "Bearer other" })).toMatchObject({ status: 401, body: "token: signature\n" });
  expect(await get(pod("pod-1"), "/bundles/other.tar.gz")).toMatchObject({ status: 404 });
  expect(await get(pod("pod-1"), BUNDLE_PATH, "POST")).toMatchObject({ status: 405 });
});

test("health, readiness and figures are told to everybody", async () => {
  expect((await get({}, "/healthz")).status).toBe(200);
  expect((await get({}, "/readyz")).status).toBe(200);
  expect((await get({}, "/metrics")).body).toBe("figures\n");
});

test("closing answers who waits", async () => {
  const held = waits("pod-1");
  await waiting(1);
  await server.close();
  expect((await held).status).toBe(304);
});
