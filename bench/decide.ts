/**
 * A process that does nothing but decide: bench/policy loaded as the sidecar loads it, fuel on, no cache, the three samples in turn.
 * Told by IPC for how long; answers how many decisions it made.
 */
import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { openBundle } from "../src/policy/bundle.ts";
import { loadPolicy } from "../src/policy/loaded.ts";
import { SAMPLE_POD } from "./policy/for-opa.ts";

export interface DecidePlan {
  readonly archive: string;
  readonly keyPem: string;
  readonly keyId: string;
  readonly scope: string;
  /** JSON members of each sample, without braces. */
  readonly inputs: readonly string[];
  /** What each must give. */
  readonly effects: readonly string[];
}

const BLOCK = 1_000;

process.once("message", (plan: DecidePlan) => {
  const trust = { keys: [{ id: plan.keyId, publicKey: createPublicKey(plan.keyPem) }], scope: plan.scope };
  const opened = openBundle(readFileSync(plan.archive), trust, null, 0);
  if (opened.kind === "refused") throw new Error(opened.message);
  const policy = loadPolicy(opened, { pod: SAMPLE_POD, cache: null });
  if ("kind" in policy) throw new Error(policy.message);
  for (const [i, input] of plan.inputs.entries()) {
    const { effect } = policy.decide(input);
    if (effect !== plan.effects[i]) throw new Error(`sample ${i} is ${effect}`);
  }
  process.on("message", ({ seconds }: { readonly seconds: number }) => {
    const began = performance.now();
    let decisions = 0;
    while (performance.now() - began < seconds * 1000) {
      for (let n = 0; n < BLOCK; n++) policy.decide(plan.inputs[n % plan.inputs.length] ?? "");
      decisions += BLOCK;
    }
    process.send?.({ decisions, seconds: (performance.now() - began) / 1000 });
  });
  process.send?.({ ready: true });
});
