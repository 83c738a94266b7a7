/**
 * The switch for the bad day, end to end: what an agent feels of a freeze, how one made by a person reaches the pods of every
 * replica, and who may make one. On a real sidecar, on real controllers with a real API server, and under `sidegate run`.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { BUNDLE_PATH } from "#contract/control-environment.ts";
import type { Frozen } from "#contract/freeze.ts";
import { readManifest } from "#policy/manifest.ts";
import { createHttpBundleSource } from "#policy/source/http.ts";
import { readArchive } from "#policy/tar.ts";
import { until } from "../support/control-plane.ts";
import { opaForTests, type Texts } from "../support/policy-texts.ts";
import { requireThat } from "../support/require.ts";
import { eventually, type Gateway, startGateway } from "../support/sidecar.ts";
import { ask, HOST } from "../support/sidecar-client.ts";
import { httpUpstream, targetTo, type Upstream } from "../support/sidecar-upstream.ts";
import { type Lab, NEEDED, POSSIBLE, ROOT, type Started, startLab } from "./controller-lab.ts";

const FREEZE: Frozen = {
  scope: "namespace",
  by: "ada",
  reason: "odd traffic to a new host",
  since: "2026-01-01T00:00:00Z",
  id: "f-1",
};

describe("an agent", () => {
  let gateway: Gateway | null = null;
  let upstream: Upstream | null = null;
  afterEach(async () => {
    await gateway?.close();
    await upstream?.close();
  });

  test("whose stream is open loses it, is told who froze it and why, also after a restart, and goes on when it is lifted", async () => {
    const response = Promise.withResolvers<http.ServerResponse>();
    upstream = await httpUpstream((request, answer) => {
      if (request.url === "/stream") {
        answer.write("first");
        response.resolve(answer);
      } else answer.end("ok");
    });
    const targets = [targetTo(upstream, { name: "api", hosts: [HOST], protocol: "http" })];
    const texts: Texts = { policies: { open: "allow if true" }, targets };
    gateway = await startGateway({ policy: texts });
    const socket = await gateway.connect({ host: HOST, port: 80 });
    const request = http.request({ createConnection: () => socket, path: "/stream", headers: { host: HOST } });
    request.on("error", () => undefined);
    request.end();
    const [stream] = (await once(request, "response")) as [http.IncomingMessage];
    const ended = new Promise<number>((resolve) => {
      stream.on("error", () => undefined);
      stream.on("close", () => resolve(performance.now()));
    });
    stream.resume();
    await response.promise;

    // In observe mode, as the worst case: nothing of a freeze may be let through as "would".
    await gateway.enforce({ ...texts, settings: { mode: "observe", freeze: FREEZE } });
    const frozenAt = performance.now();
    const ms = (await ended) - frozenAt;
    console.log(`an open stream ended ${Math.round(ms)} ms after the frozen bundle was there`);

    const refused = await ask(gateway);
    expect(refused.status).toBe(403);
    expect(JSON.parse(refused.body)).toMatchObject({ code: "frozen" });
    expect(refused.body).toContain("frozen by ada at 2026-01-01T00:00:00Z: odd traffic to a new host");
    expect(await gateway.metric("sidegate_frozen")).toBe(1);

    await gateway.stop("sidecar");
    rmSync(gateway.at("bundle.tar.gz"), { force: true });
    await gateway.restart("sidecar");
    expect(JSON.parse((await ask(gateway)).body)).toMatchObject({ code: "frozen" });

    await gateway.enforce(texts);
    await eventually(
      async () => (await gateway?.metric("sidegate_frozen")) === 0,
      () => "still frozen",
    );
    expect((await ask(gateway)).body).toBe("ok");
    const events = await gateway.recordsUntil((found) => found.some((event) => event.rest["note"] === "unfrozen"), {
      kinds: ["note"],
    });
    expect(events.find((event) => event.rest["note"] === "frozen")?.rest).toMatchObject({
      freeze: "f-1",
      by: "ada",
      reason: "odd traffic to a new host",
    });
  });
});

describe("a person", () => {
  let lab: Lab;
  beforeAll(async () => {
    if (!POSSIBLE) return;
    lab = await startLab();
    const all = parseAllDocuments(
      readFileSync(path.join(ROOT, "charts/gateway/files/admission-policies.yaml"), "utf8"),
    );
    const lock = all
      .map((d) => d.toJS() as { metadata: { name: string } })
      .find((o) => o.metadata.name === "sidegate-freezes");
    lab.apply(lock ?? {});
    lab.apply({
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingAdmissionPolicyBinding",
      metadata: { name: "sidegate-freezes" },
      spec: { policyName: "sidegate-freezes", validationActions: ["Deny"] },
    });
  }, 60_000);
  afterAll(() => lab?.stop());

  const start = (identity: string): Started =>
    lab.start("controller", identity, { SIDEGATE_CLUSTER: "test", SIDEGATE_CALLER_ADDRESS: "any" });
  const FREEZES = "/apis/sidegate.dev/v1alpha1/namespaces/team/freezes";

  function sidegate(...args: string[]): { readonly code: number | null; readonly out: string; readonly err: string } {
    const run = spawnSync(path.join(ROOT, "bin/sidegate"), [...args, "--kubeconfig", lab.plane.kubeconfig], {
      encoding: "utf8",
    });
    return { code: run.status, out: run.stdout, err: run.stderr };
  }

  async function pod(name: string): Promise<string> {
    const made = await lab.plane.call("POST", "/api/v1/namespaces/team/pods", {
      metadata: { name, annotations: { "sidegate.dev/injected": "yes" } },
      spec: { containers: [{ name: "app", image: "app:1" }] },
    });
    const { uid } = made.body["metadata"] as { uid: string };
    const asked = await lab.plane.call("POST", "/api/v1/namespaces/team/serviceaccounts/default/token", {
      spec: { audiences: ["sidegate"], boundObjectRef: { apiVersion: "v1", kind: "Pod", name, uid } },
    });
    return (asked.body["status"] as { token: string }).token;
  }

  async function follow(one: Started, token: string) {
    const { body } = await lab.plane.call("GET", "/api/v1/namespaces/sidegate/configmaps/sidegate-runtime");
    const ca = (body["data"] as Record<string, string>)["ca.crt"] ?? "";
    const source = createHttpBundleSource({
      url: `https://localhost:${await one.port}${BUNDLE_PATH}`,
      token: () => Promise.resolve(token),
      ca,
      waitS: 20,
      pollMs: 200,
    });
    let etag: string | null = null;
    return async (): Promise<Frozen | null> => {
      for (;;) {
        try {
          const answer = await source.next(etag, AbortSignal.timeout(20_000));
          ({ etag } = answer);
          const manifest = Buffer.from(readArchive(answer.archive).get(".manifest") ?? []).toString();
          return readManifest(manifest).metadata.settings.freeze ?? null;
        } catch (fault) {
          if (!/answered 503/.test(String(fault))) throw fault;
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      }
    };
  }

  test("freezes a namespace, and the pods of both replicas have it at once; new replicas know it; lifting it ends it", async (context) => {
    requireThat(context, POSSIBLE, NEEDED);
    const [a, b] = [start("a"), start("b")];
    await until(20_000, "the runtime ConfigMap", async () => {
      await Promise.all([a.port, b.port]);
      return (await lab.plane.call("GET", "/api/v1/namespaces/sidegate/configmaps/sidegate-runtime")).status === 200;
    });
    const token = await pod("agent");
    const both = [await follow(a, token), await follow(b, token)];
    expect(await Promise.all(both.map((next) => next()))).toEqual([null, null]);
    const waiting = both.map((next) => next().then((freeze) => ({ freeze, at: performance.now() })));
    const made = sidegate("freeze", "-n", "team", "--reason", "odd traffic");
    const askedAt = performance.now();
    expect([made.code, made.err]).toEqual([0, ""]);
    expect(made.out).toMatch(/^namespace team: frozen by admin, 1 running pods /);
    const told = await Promise.all(waiting);
    console.log(
      `both replicas' pods had it ${told.map(({ at }) => Math.round(at - askedAt)).join(" and ")} ms after the command had ended`,
    );
    for (const { freeze } of told)
      expect(freeze).toMatchObject({ scope: "namespace", by: "admin", reason: "odd traffic" });

    for (const one of [a, b]) await lab.end(one, "SIGKILL");
    const c = start("c");
    const later = await follow(c, token);
    expect(await later()).toMatchObject({ reason: "odd traffic" });
    expect(sidegate("unfreeze").out).toMatch(/^namespace team.*: by admin at .*: odd traffic\n$/);
    const thawed = later();
    expect(sidegate("unfreeze", "-n", "team", "--reason", "all clear").code).toBe(0);
    expect(await thawed).toBeNull();
    // Nobody to record it at here: it goes away at once.
    await until(20_000, "the lifted freeze to go", async () => {
      const { body } = await lab.plane.call("GET", FREEZES);
      return (body["items"] as unknown[]).length === 0;
    });
    expect(sidegate("unfreeze", "-n", "team").code).toBe(1);
  }, 90_000);

  test("may not freeze in another's name, change a freeze, or lift it as somebody else; without the right, not at all", async (context) => {
    requireThat(context, POSSIBLE, NEEDED);
    const ada = { user: "ada", groups: ["system:authenticated"] };
    const freeze = (by: string): object => ({
      apiVersion: "sidegate.dev/v1alpha1",
      kind: "Freeze",
      metadata: { name: "f" },
      spec: { reason: "a reason", by },
    });
    expect((await lab.plane.call("POST", FREEZES, freeze("ada"), ada)).status).toBe(403);
    const { body } = parseRole();
    lab.apply(body);
    lab.apply({
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata: { name: "ada", namespace: "team" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "sidegate-freezer" },
      subjects: [{ kind: "User", name: "ada" }],
    });
    let forged = await lab.plane.call("POST", FREEZES, freeze("eve"), ada);
    await until(10_000, "the admission policy", async () => {
      if (forged.status === 201) await lab.plane.call("DELETE", `${FREEZES}/f`);
      forged = await lab.plane.call("POST", FREEZES, freeze("eve"), ada);
      return forged.status === 403;
    });
    expect(forged.body.message).toContain("must be your own user name");
    expect((await lab.plane.call("POST", FREEZES, freeze("ada"), ada)).status).toBe(201);
    const all = FREEZES.replace("/team/", "/sidegate/");
    expect((await lab.plane.call("POST", all, freeze("ada"), ada)).status).toBe(403);
    const change = (spec: object) => lab.plane.call("PATCH", `${FREEZES}/f`, { spec }, ada);
    expect((await change({ reason: "another" })).status).toBe(422);
    expect((await change({ pod: "only-this" })).status).toBe(422);
    expect((await change({ lifted: { by: "eve" } })).status).toBe(403);
    expect((await lab.plane.call("DELETE", `${FREEZES}/f`, undefined, ada)).status).toBe(403);
    expect((await change({ lifted: { by: "ada" } })).status).toBe(200);
    expect((await change({ lifted: null })).status).toBe(422);
    await lab.plane.call("DELETE", `${FREEZES}/f`);
  }, 60_000);

  /** The chart's own words for the role. */
  function parseRole(): { readonly body: object } {
    const text = readFileSync(path.join(ROOT, "charts/gateway/templates/rbac.yaml"), "utf8");
    const rules = /name: sidegate-freezer\n[\s\S]*?\nrules:\n([\s\S]*?)\n---/.exec(text)?.[1] ?? "";
    const whole = `apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: sidegate-freezer }\nrules:\n${rules}\n`;
    return { body: parseAllDocuments(whole)[0]?.toJS() as object };
  }
});

describe("a run on this machine", () => {
  test("is frozen by its id from another terminal, and goes on when that is lifted", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "sidegate-freeze-"));
    const upstream = await httpUpstream((_request, answer) => void answer.end("ok"));
    mkdirSync(path.join(folder, "policy/targets"), { recursive: true });
    writeFileSync(
      path.join(folder, "policy/docs.rego"),
      'package sidegate.policy.docs\n\nallow if input.target.name == "docs"\n',
    );
    writeFileSync(
      path.join(folder, "policy/targets/docs.yaml"),
      `apiVersion: sidegate.dev/v1alpha1
kind: EgressTarget
metadata: {name: docs}
spec: {hosts: [docs.test], ports: [80], protocol: http, tls: none, endpoints: ["127.0.0.1:${upstream.port}"]}
`,
    );
    const env = { ...process.env, XDG_STATE_HOME: path.join(folder, "state"), SIDEGATE_OPA: await opaForTests() };
    const loop =
      "(async()=>{for(;;){let s;try{const r=await fetch('http://docs.test/');s=r.status+' '+(await r.text()).replaceAll('\\n',' ')}catch(e){s='failed'}console.log(s);await new Promise(r=>setTimeout(r,100))}})()";
    const run = spawn(
      path.join(ROOT, "bin/sidegate"),
      ["run", "--policy", path.join(folder, "policy"), "--", process.execPath, "-e", loop],
      { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] },
    );
    let out = "";
    let err = "";
    run.stdout.on("data", (piece: Buffer) => (out += piece.toString()));
    run.stderr.on("data", (piece: Buffer) => (err += piece.toString()));
    const tell = (...args: string[]) => spawnSync(path.join(ROOT, "bin/sidegate"), args, { env, encoding: "utf8" });
    try {
      await until(30_000, "the first answer", () => Promise.resolve(out.includes("200 ok")));
      const id = /sidegate: run ([0-9a-f]+)/.exec(err)?.[1] ?? "";
      expect(tell("freeze", "--run", id, "--reason", "it went astray").status, err).toBe(0);
      await until(10_000, "a refusal", () => Promise.resolve(/403 .*it went astray/.test(out)));
      const after = out.length;
      expect(tell("unfreeze", "--run", id).status).toBe(0);
      await until(20_000, "an answer again", () => Promise.resolve(out.slice(after).includes("200 ok")));
      expect(tell("freeze", "--run", "nobody", "--reason", "x").status).toBe(2);
    } catch (fault) {
      throw new Error(`${String(fault)}\n${out.slice(-2_000)}\n${err.slice(-2_000)}`, { cause: fault });
    } finally {
      const gone = once(run, "exit");
      run.kill("SIGTERM");
      await gone;
      await upstream.close();
      rmSync(folder, { recursive: true, force: true });
    }
  }, 90_000);
});
