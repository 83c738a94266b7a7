/**
 * Checks our own resources before they are stored: a policy is compiled, tested and built as it will be for pods, a target is looked at
 * for what the API server's schema cannot say. Refused with file, line and reason, so that `kubectl apply` shows what to correct.
 *
 * Bounded: a few at a time; who would wait too long is refused, and told to try again. What was good once is good again: a dry run before,
 * and whoever applies the same each minute, cost no second compilation. What was refused is looked at anew.
 */
import { createHash } from "node:crypto";
import { Compile } from "typebox/compile";
import { AgentPolicySpec, ClusterAgentPolicySpec } from "#contract/agent-policy.ts";
import type { FieldProblem } from "#contract/credential-from.ts";
import { API_GROUP } from "#contract/names.ts";
import { TargetSpec } from "#contract/target.ts";
import { chooseSecret, type SecretName, targetCredentialProblems } from "#contract/target-credential.ts";
import { equalJson } from "#core/json-diff.ts";
import { Lru } from "#core/lru.ts";
import type { AccessQuestion } from "#kube/access-review.ts";
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
  /** Namespaces whose Secrets a target's credential may come from. */
  readonly credentialNamespaces?: readonly string[];
  /** Whether somebody may read a Secret; null: there is no API server to ask. */
  readonly may?: ((question: AccessQuestion) => Promise<boolean>) | null;
  readonly concurrency?: number;
}

const agent = Compile(AgentPolicySpec);
const cluster = Compile(ClusterAgentPolicySpec);
const target = Compile(TargetSpec);
const MAX_WAITING = 16;
/** A digest each. */
const MAX_GOOD = 512;
/** What the API server passes on of a message. */
const MAX_PROBLEMS = 20;

export function createPolicyCheck(options: PoliciesOptions): (request: AdmissionRequest) => Promise<Outcome> {
  const { compile, own, concurrency = 2 } = options;
  const queue: (() => void)[] = [];
  const good = new Lru<string, true>(MAX_GOOD);
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
    const content = createHash("sha256").update(JSON.stringify(policy)).digest("base64");
    if (good.get(content) !== undefined) return [];
    const result = await inTurn(resourceSources([policy], []));
    if (result.kind === "problems") return result.problems;
    good.set(content, true);
    return [];
  }

  async function targetProblems(request: AdmissionRequest): Promise<readonly Problem[]> {
    const { spec } = (request.object ?? {}) as { readonly spec?: unknown };
    if (!target.Check(spec)) return schemaProblems(target.Errors(spec));
    const problems: Problem[] = [];
    const refuse = (field: string, message: string): void => void problems.push({ file: field, line: 0, message });
    for (const { field, message } of targetCredentialProblems(spec)) refuse(field, message);
    if (request.namespace !== own) {
      if (spec.endpoints !== undefined)
        refuse("spec.endpoints", `only targets in namespace ${own} may say where to dial`);
      if (spec.insecureCredential === true)
        refuse("spec.insecureCredential", `only targets in namespace ${own} may send a credential unprotected`);
    }
    if (problems.length === 0 && spec.credentialFrom !== undefined) {
      const problem = await secretProblem(request, spec.credentialFrom.secret);
      if (problem !== null) refuse(problem.field, problem.message);
    }
    return problems;
  }

  /**
   * Who lends a Secret to a target must be somebody who may read it: else a right to write targets would be one to read Secrets, by
   * way of a host of one's own. Asked again whenever the target changes, since a changed host is as good as a changed name.
   */
  async function secretProblem(request: AdmissionRequest, secret: SecretName): Promise<FieldProblem | null> {
    const { namespace = "", userInfo } = request;
    if (request.operation === "UPDATE" && equalJson(specOf(request.object), specOf(request.oldObject))) return null;
    const chosen = chooseSecret(secret, { namespace, own, allowed: options.credentialNamespaces ?? [] });
    if (chosen.kind === "refused") return chosen.problem;
    const user = userInfo.username ?? "";
    const question = { user, groups: userInfo.groups ?? [], verb: "get", group: "", resource: "secrets" };
    const { may = null } = options;
    if (may !== null && (await may({ ...question, namespace: chosen.namespace, name: chosen.name }))) return null;
    return {
      field: "spec.credentialFrom.secret",
      message: `${user} may not read Secret ${chosen.namespace}/${chosen.name}, and so may not lend it to a target`,
    };
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
              ? await targetProblems(request)
              : null;
    if (problems === null) return { kind: "misdirected", reason: resource, answer: misdirected(request) };
    if (problems.length === 0) return { kind: "allowed", reason: "", answer: allowed(request) };
    const lines = problems.slice(0, MAX_PROBLEMS).map(formatProblem);
    const more = problems.length > MAX_PROBLEMS ? [`and ${problems.length - MAX_PROBLEMS} more`] : [];
    const message = `sidegate refuses this:\n${[...lines, ...more].join("\n")}`;
    return { kind: "denied", reason: resource, answer: denied(request, message) };
  };
}

function specOf(object: unknown): unknown {
  return (object as { readonly spec?: unknown } | undefined)?.spec;
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
