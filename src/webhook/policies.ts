/**
 * Checks our own resources before they are stored: a policy is compiled, tested and built as it will be for pods, a target is looked at
 * for what the API server's schema cannot say. Refused with file, line and reason, so that `kubectl apply` shows what to correct.
 *
 * Bounded: a few at a time; who would wait too long is refused, and told to try again.
 */
import { Compile } from "typebox/compile";
import { AgentPolicySpec, ClusterAgentPolicySpec } from "#contract/agent-policy.ts";
import { API_GROUP } from "#contract/names.ts";
import { TargetSpec } from "#contract/target.ts";
import type { CompileResult } from "#policy/compile/compile.ts";
import { formatProblem, type Problem } from "#policy/compile/problem.ts";
import { type PolicyResource, packageProblems, resourceSources } from "#policy/compile/resource.ts";
import type { PolicySources } from "#policy/compile/sources.ts";
import type { Outcome } from "./outcome.ts";
import { type AdmissionRequest, allowed, denied, misdirected } from "./review.ts";

export interface PoliciesOptions {
  readonly compile: (sources: PolicySources) => Promise<CompileResult>;
  /** The control plane's namespace: only its targets may say what opens an unverified way. */
  readonly own: string;
  readonly concurrency?: number;
}

const agent = Compile(AgentPolicySpec);
const cluster = Compile(ClusterAgentPolicySpec);
const target = Compile(TargetSpec);
const MAX_WAITING = 16;
/** What the API server passes on of a message. */
const MAX_PROBLEMS = 20;

export function createPolicyCheck(options: PoliciesOptions): (request: AdmissionRequest) => Promise<Outcome> {
  const { compile, own, concurrency = 2 } = options;
  const queue: (() => void)[] = [];
  let running = 0;

  async function inTurn(sources: PolicySources): Promise<CompileResult> {
    if (running >= concurrency) {
      if (queue.length >= MAX_WAITING)
        return { kind: "problems", problems: [{ file: "policy", line: 0, message: "too many at once; try again" }] };
      await new Promise<void>((resolve) => {
        queue.push(resolve);
      });
    }
    running++;
    try {
      return await compile(sources);
    } finally {
      running--;
      queue.shift()?.();
    }
  }

  async function policyProblems(request: AdmissionRequest, kind: PolicyResource["kind"]): Promise<readonly Problem[]> {
    const { spec } = (request.object ?? {}) as { readonly spec?: unknown };
    const checker = kind === "AgentPolicy" ? agent : cluster;
    if (!checker.Check(spec)) return schemaProblems(checker.Errors(spec));
    const { module, tests = "", data, mode = "enforce" } = spec;
    const { name = "", namespace = "" } = request;
    const policy: PolicyResource = { kind, namespace, name: name || nameIn(request), module, tests, data, mode };
    const misnamed = packageProblems(policy);
    if (misnamed.length > 0) return misnamed;
    const result = await inTurn(resourceSources([policy], []));
    return result.kind === "problems" ? result.problems : [];
  }

  function targetProblems(request: AdmissionRequest): readonly Problem[] {
    const { spec } = (request.object ?? {}) as { readonly spec?: unknown };
    if (!target.Check(spec)) return schemaProblems(target.Errors(spec));
    const problems: Problem[] = [];
    const refuse = (field: string, message: string): void => void problems.push({ file: field, line: 0, message });
    if (spec.credential !== undefined && spec.hosts.some((host) => host.startsWith("*.")))
      refuse("spec.hosts", "a wildcard may not stand together with a credential");
    if (request.namespace !== own) {
      if (spec.endpoints !== undefined)
        refuse("spec.endpoints", `only targets in namespace ${own} may say where to dial`);
      if (spec.insecureCredential === true)
        refuse("spec.insecureCredential", `only targets in namespace ${own} may send a credential unprotected`);
    }
    return problems;
  }

  return async (request) => {
    const { group, resource } = request.resource;
    const asked =
      request.subResource === undefined && (request.operation === "CREATE" || request.operation === "UPDATE");
    const problems =
      group !== API_GROUP || !asked
        ? null
        : resource === "agentpolicies"
          ? await policyProblems(request, "AgentPolicy")
          : resource === "clusteragentpolicies"
            ? await policyProblems(request, "ClusterAgentPolicy")
            : resource === "egresstargets"
              ? targetProblems(request)
              : null;
    if (problems === null) return { kind: "misdirected", reason: resource, answer: misdirected(request) };
    if (problems.length === 0) return { kind: "allowed", reason: "", answer: allowed(request) };
    const lines = problems.slice(0, MAX_PROBLEMS).map(formatProblem);
    const more = problems.length > MAX_PROBLEMS ? [`and ${problems.length - MAX_PROBLEMS} more`] : [];
    const message = `sidegate refuses this:\n${[...lines, ...more].join("\n")}`;
    return { kind: "denied", reason: resource, answer: denied(request, message) };
  };
}

function nameIn(request: AdmissionRequest): string {
  const { metadata } = (request.object ?? {}) as { readonly metadata?: { readonly name?: unknown } };
  return typeof metadata?.name === "string" ? metadata.name : "";
}

function schemaProblems(errors: readonly { readonly instancePath: string; readonly message: string }[]): Problem[] {
  return errors.slice(0, MAX_PROBLEMS).map(({ instancePath, message }) => ({
    file: `spec${instancePath.replaceAll("/", ".")}`,
    line: 0,
    message,
  }));
}
