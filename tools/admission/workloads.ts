/**
 * The people behind workloads: the webhook stamps them, and here, without a server, what it did not stamp is refused. The webhook itself
 * never refuses and may be down (`failurePolicy: Ignore`): so nobody waits for it who does not make or rewrite an agent's workload.
 */
import { ANNOTATION, LABEL } from "#contract/names.ts";
import { WORKLOAD_CONTROLLERS } from "#injection/owner.ts";
import { PEOPLE_ANNOTATIONS } from "#injection/people.ts";
import { quote, quotedList } from "./cel.ts";
import { DEPLOYER } from "./gateway.ts";
import type { Check, Policy } from "./policy.ts";

const annotation = (object: string, name: string): string =>
  `${object}.metadata.?annotations[?${quote(name)}].orValue("")`;
const now = (name: string): string => annotation("object", name);
/** Of the object as it was, where somebody looked at it then. */
const before = (name: string): string => `(variables.guardedBefore ? ${annotation("oldObject", name)} : "")`;

const labelled = (object: string): string =>
  `[${object}.spec.?template.?metadata.?labels.orValue({}), ${object}.spec.?jobTemplate.?spec.?template.?metadata.?labels.orValue({})].exists(l, l[?${quote(LABEL.inject)}].orValue("") == "true")`;

const WHEN = "the gateway's webhook, which writes it, did not answer; try again";
const NAMES = quotedList(PEOPLE_ANNOTATIONS);

/** Built-in controllers copy what others wrote, and have nothing to say of their own. */
const NOT_BY_CONTROLLERS = `!(request.userInfo.username in ${quotedList(WORKLOAD_CONTROLLERS)})`;

const CHECKS: readonly Check[] = [
  {
    expression: `!variables.rewritten || [object.spec.?template.?metadata.?annotations.orValue({}), object.spec.?jobTemplate.?metadata.?annotations.orValue({}), object.spec.?jobTemplate.?spec.?template.?metadata.?annotations.orValue({})].all(m, m.all(k, !(k in ${NAMES})))`,
    message: `spec.template.metadata.annotations: ${PEOPLE_ANNOTATIONS.join(", ")} are the gateway's to write`,
  },
  {
    expression: `request.operation == "CREATE" ? ${now(ANNOTATION.creator)} == request.userInfo.username : ${now(ANNOTATION.creator)} == ${before(ANNOTATION.creator)}`,
    message: `metadata.annotations[${ANNOTATION.creator}]: names somebody else than who made this, or ${WHEN}`,
  },
  {
    expression: `variables.rewritten ? ${now(ANNOTATION.templateWriter)} == request.userInfo.username : ${now(ANNOTATION.templateWriter)} == ${before(ANNOTATION.templateWriter)}`,
    message: `metadata.annotations[${ANNOTATION.templateWriter}]: names somebody else than who wrote the template, or ${WHEN}`,
  },
];

const ownerCheck = (deployer: string): Check => ({
  expression: `${now(ANNOTATION.owner)} == ${before(ANNOTATION.owner)}${deployer}`,
  message: `metadata.annotations[${ANNOTATION.owner}]: only a deployer (value identity.deployers) names an owner, and only in a namespace that has opted in`,
});

/** By its status a workload's annotations can be written, too. */
const withStatus = (...plurals: readonly string[]): string[] => plurals.flatMap((one) => [one, `${one}/status`]);

const BASE = {
  rules: [
    {
      apiGroups: ["apps"],
      resources: withStatus("deployments", "statefulsets", "daemonsets", "replicasets"),
      operations: ["CREATE", "UPDATE"],
    },
    { apiGroups: ["batch"], resources: withStatus("jobs", "cronjobs"), operations: ["CREATE", "UPDATE"] },
  ],
  variables: {
    rewritten: `request.operation == "CREATE" || object.spec.?template != oldObject.spec.?template || object.spec.?jobTemplate != oldObject.spec.?jobTemplate`,
  },
} as const satisfies Partial<Policy>;

/** Namespaces that have opted in. */
export function workloadPolicy(): Policy {
  return {
    ...BASE,
    name: "sidegate-workloads",
    about: "A workload says who made it and who last wrote its template; its author does not.",
    variables: { ...BASE.variables, guardedBefore: `request.operation == "UPDATE"` },
    params: true,
    conditions: { "not-by-controllers": NOT_BY_CONTROLLERS },
    checks: [...CHECKS, ownerCheck(` || ${DEPLOYER}`)],
  };
}

/** Everywhere else, where the template's label asks for the gateway: without parameters, so that nothing that is missing refuses anybody else. */
export function labelledWorkloadPolicy(): Policy {
  return {
    ...BASE,
    name: "sidegate-workloads-labelled",
    about: "The same where only the pod template's label asks for the gateway.",
    // What stands on one whose template did not ask is its author's word.
    variables: { ...BASE.variables, guardedBefore: `request.operation == "UPDATE" && ${labelled("oldObject")}` },
    params: false,
    conditions: {
      "not-by-controllers": NOT_BY_CONTROLLERS,
      labelled: labelled("object"),
    },
    checks: [...CHECKS, ownerCheck("")],
  };
}

/**
 * And where nobody asks for it: no stamp is made or kept there, since the namespace may opt in tomorrow. The webhook takes them away; only
 * while it does not answer, whoever writes a workload that bears one is told to.
 */
export function unguardedWorkloadPolicy(): Policy {
  const names = [ANNOTATION.creator, ANNOTATION.templateWriter];
  const same = names.map((name) => `${now(name)} == ${annotation("oldObject", name)}`).join(" && ");
  return {
    ...BASE,
    name: "sidegate-workloads-unguarded",
    about: "What nobody looked at bears no stamp that might be believed later.",
    params: false,
    conditions: {
      "not-by-controllers": NOT_BY_CONTROLLERS,
      "bears-stamps": `${quotedList(names)}.exists(n, object.metadata.?annotations[?n].hasValue())`,
      "not-labelled": `!(${labelled("object")})`,
    },
    checks: [
      {
        expression: `!variables.rewritten && ${same}`,
        message: `metadata.annotations: ${names.join(" and ")} are the gateway's to write; take them out`,
      },
    ],
  };
}
