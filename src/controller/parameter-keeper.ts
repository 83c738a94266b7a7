/**
 * Keeps the API server able to read the parameters of our admission policies after an uninstall and a new install.
 *
 * An API server (seen on 1.34) ends its watch of ConfigMaps when the last policy with such parameters goes, and does not begin it anew:
 * from then on every policy of a second installation finds "no params" and refuses, until that API server is restarted. So one policy and
 * binding, which match nothing that exists, stay for good. They are nobody's release: neither Helm nor the guard knows them.
 *
 * Errs towards leaving things alone: what is there already, in whatever form, is not touched.
 */
import { hasStatus, type Kube, type KubeObject } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";

const NAME = "keep-configmap-parameters";
const ABOUT = {
  "sidegate.dev/about":
    "Matches nothing. While it exists, the API server goes on watching ConfigMaps for the parameters of admission policies; without it a second installation of Sidegate would be refused until the API server is restarted.",
};

const POLICY = {
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "ValidatingAdmissionPolicy",
  metadata: { name: NAME, annotations: ABOUT },
  spec: {
    failurePolicy: "Ignore",
    paramKind: { apiVersion: "v1", kind: "ConfigMap" },
    matchConstraints: {
      resourceRules: [
        { apiGroups: ["nothing.sidegate.dev"], apiVersions: ["v1"], operations: ["CREATE"], resources: ["nothings"] },
      ],
    },
    validations: [{ expression: "true" }],
  },
} as const satisfies KubeObject & Record<string, unknown>;

/** Its maker has to be allowed to read what it names, so that is in our own namespace. It need not be there. */
const binding = (own: string) => ({
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "ValidatingAdmissionPolicyBinding",
  metadata: { name: NAME, annotations: ABOUT },
  spec: {
    policyName: NAME,
    validationActions: ["Audit"],
    paramRef: { name: "nothing", namespace: own, parameterNotFoundAction: "Allow" },
  },
});

/** Makes what is missing of the two. `own`: our namespace. Rejects where the API server does not let us. */
export async function keepParameters(kube: Pick<Kube, "create">, own: string): Promise<void> {
  for (const [resource, object] of [
    [RESOURCE.admissionPolicy, POLICY],
    [RESOURCE.admissionBinding, binding(own)],
  ] as const)
    try {
      await kube.create<KubeObject>(resource, object);
    } catch (fault) {
      if (!hasStatus(fault, 409)) throw fault;
    }
}
