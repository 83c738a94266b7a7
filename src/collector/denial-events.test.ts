import { expect, test } from "vitest";
import { createDenialEvents } from "./denial-events.ts";
import type { Sender } from "./ingest.ts";
import type { RecordRow } from "./store/port.ts";

const pod = (name = "agent-1", own = true): Sender => ({
  subject: `team/${name}`,
  claims: { namespace: "team", pod: name, uid: `uid-${name}`, cluster: { name: "c", own } },
});
let seq = 0;
function denial(target: string | null, code: string, host = "billing.example"): RecordRow {
  const core = {
    protocol: "http",
    action: "write",
    verdict: "deny",
    pre: { target: { name: target, host, port: 443 } },
    decision: { effect: "deny", code, policies: ["billing"], rule: "team/billing.rego:7" },
  };
  return {
    boot: "b1",
    seq: ++seq,
    target,
    host,
    code,
    kind: "op",
    verdict: "deny",
    core: Buffer.from(JSON.stringify(core)),
  } as never;
}

function events() {
  const said: { name: string; message: string }[] = [];
  let nowMs = 0;
  const clock = { wallMs: () => 0, elapsedMs: () => nowMs };
  const tell = createDenialEvents({
    clock,
    tell: ({ about, message }) => void said.push({ name: about.metadata.name, message }),
  });
  return { tell, said, pass: (ms: number) => void (nowMs += ms) };
}

test("the first denial of each target and code of a pod and hour is an Event on the pod that says whom to ask why", () => {
  const { tell, said, pass } = events();
  seq = 0;
  for (let n = 0; n < 3; n++) tell(pod(), denial("billing", "no_deletes"));
  expect(said).toEqual([
    {
      name: "agent-1",
      message:
        "write http billing.example:443: no_deletes by policy billing (team/billing.rego:7); sidegate why b1-1 -n team",
    },
  ]);
  tell(pod(), denial("billing", "not_allowed"));
  tell(pod(), denial("crm", "no_deletes"));
  tell(pod("agent-2"), denial("billing", "no_deletes"));
  expect(said).toHaveLength(4);
  pass(3_600_000);
  tell(pod(), denial("billing", "no_deletes"));
  expect(said).toHaveLength(5);
});

test("an agent that is denied everywhere makes a few Events, and the last one says where the rest is", () => {
  const { tell, said } = events();
  for (let n = 0; n < 10_000; n++) tell(pod(), denial(null, "target_unknown", `host-${n}.example`));
  expect(said).toHaveLength(21);
  expect(said.at(-1)?.message).toContain("sidegate audit query -n team --pod agent-1");
});

test("a thousand agents at once do not fill the API server", () => {
  const { tell, said, pass } = events();
  for (let n = 0; n < 1_000; n++) tell(pod(`agent-${n}`), denial("billing", "no"));
  expect(said).toHaveLength(300);
  pass(60_000);
  tell(pod("agent-999"), denial("billing", "no"));
  expect(said).toHaveLength(301);
});

test("a pod of another cluster has no Event here", () => {
  const { tell, said } = events();
  tell(pod("agent-1", false), denial("billing", "no"));
  expect(said).toEqual([]);
});
