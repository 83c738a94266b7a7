/**
 * Makes a LoadedPolicy of an opened bundle: compiles the module, loads its data with the pod's, warms it up.
 *
 * Errs towards refusal: whatever is wrong with module, data or targets is a BundleFault; a fault while deciding is a denial.
 */
import type { Decision } from "#contract/decision.ts";
import { type Frozen, frozenText } from "#contract/freeze.ts";
import type { LoadedPolicy } from "#contract/policy-port.ts";
import { Lru } from "#core/lru.ts";
import type { OpenBundle } from "./bundle.ts";
import { CACHE_LIMITS, type CacheLimits, createDecisionCache, type DecisionCache } from "./cache.ts";
import { createEvaluator, EVALUATOR_LIMITS, type Evaluator, type EvaluatorLimits } from "./evaluator.ts";
import { faultDecision } from "./outcome.ts";
import { createProfile } from "./profile.ts";
import { readDecision } from "./reading.ts";
import type { BundleFault } from "./refusal.ts";
import { readTargets } from "./targets.ts";
import { WasmError } from "./wasm-binary.ts";

export interface LoadOptions {
  /** `data.sidegate.pod`: what never changes for this workload. */
  readonly pod: Readonly<Record<string, unknown>>;
  readonly limits?: EvaluatorLimits;
  /** Null: no decision cache (the bench measures without). */
  readonly cache?: CacheLimits | null;
  /** Evaluations before it is handed out, so that the first requests do not pay for the engine's warm-up. */
  readonly warmUps?: number;
}

/** Distinct results are few; reading one costs more than finding it again. */
const READ_ENTRIES = 256;
const MAX_READ_CHARS = 2_048;
/** The first evaluation costs a hundred times what a warm one does; after a few dozen the engine has compiled what it will use. */
const WARM_UPS = 64;

export function loadPolicy(bundle: OpenBundle, options: LoadOptions): LoadedPolicy | BundleFault {
  const { manifest, claims } = bundle;
  if (manifest.metadata.settings.freeze !== undefined) return loadFrozen(bundle, manifest.metadata.settings.freeze);
  let evaluator: Evaluator;
  let targets: LoadedPolicy["targets"];
  try {
    targets = readTargets(bundle.data);
    evaluator = createEvaluator(bundle.wasm, withPod(bundle.data, options.pod), options.limits ?? EVALUATOR_LIMITS);
  } catch (fault) {
    if (fault instanceof WasmError) return { kind: "refused", code: "bundle_wasm", message: fault.message };
    if (fault instanceof TypeError) return { kind: "refused", code: "bundle_data", message: fault.message };
    throw fault;
  }
  const { settings, rules } = manifest.metadata;
  const profile = createProfile(manifest.revision, manifest.metadata);
  const read = new Lru<string, Decision>(READ_ENTRIES);

  function evaluate(input: string): { decision: Decision; pure: boolean } {
    const evaluation = evaluator.evaluate(input);
    if (evaluation.kind === "fault") return { decision: faultDecision(evaluation.code, evaluation.why), pure: false };
    const { text } = evaluation;
    let decision = read.get(text);
    if (decision === undefined) {
      decision = readDecision(text, settings, rules);
      if (text.length <= MAX_READ_CHARS) read.set(text, decision);
    }
    return { decision, pure: true };
  }

  warmUp(evaluate, options.warmUps ?? WARM_UPS);
  const cacheLimits = options.cache === undefined ? CACHE_LIMITS : options.cache;
  const cache = cacheLimits === null || profile.reads("time") ? null : createDecisionCache(cacheLimits);
  return {
    revision: manifest.revision,
    sequence: claims.sequence,
    profile,
    targets,
    settings,
    decide: cache === null ? (input) => evaluate(input).decision : (input) => decideCached(cache, evaluate, input),
  };
}

/** A freeze decides alone: the module is not even looked at, so nothing that is wrong with it keeps a freeze out. */
function loadFrozen({ manifest, claims, data }: OpenBundle, freeze: Frozen): LoadedPolicy {
  const decision = faultDecision("frozen", frozenText(freeze));
  let targets: LoadedPolicy["targets"] = [];
  try {
    // Known targets get the answer that says why; without them all of it is refused as unknown.
    targets = readTargets(data);
  } catch (fault) {
    if (!(fault instanceof TypeError)) throw fault;
  }
  return {
    revision: manifest.revision,
    sequence: claims.sequence,
    profile: { revision: manifest.revision, reads: () => false, mayHold: false, mayMask: false },
    targets,
    settings: { ...manifest.metadata.settings, mode: "enforce" },
    decide: () => decision,
  };
}

function decideCached(
  cache: DecisionCache,
  evaluate: (input: string) => { decision: Decision; pure: boolean },
  input: string,
): Decision {
  const known = cache.get(input);
  if (known !== undefined) return known;
  const { decision, pure } = evaluate(input);
  if (pure) cache.set(input, decision);
  return decision;
}

const WARM_UP_INPUT =
  '"v":1,"protocol":"http","action":"read","complete":true,"target":{"name":"warm-up","host":"warm-up.invalid","port":443,"labels":{}},"run":null,' +
  '"http":{"method":"GET","scheme":"https","host":"warm-up.invalid","path":"/","segments":[],"query":{},"headers":{},"contentType":null,"contentLength":null,"truncated":false}';

function warmUp(evaluate: (input: string) => unknown, rounds: number): void {
  for (let n = rounds; n > 0; n--) evaluate(WARM_UP_INPUT);
}

/** The pod's facts take the place of anything that a bundle says about it. */
function withPod(data: Readonly<Record<string, unknown>>, pod: Readonly<Record<string, unknown>>): string {
  const ours = data["sidegate"];
  const sidegate = typeof ours === "object" && ours !== null ? ours : {};
  return JSON.stringify({ ...data, sidegate: { ...sidegate, pod } });
}
