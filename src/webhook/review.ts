/**
 * AdmissionReview (admission.k8s.io/v1): what the API server asks, and every answer that we give it. Answers are made by these
 * functions only, each named by its outcome, so nothing is allowed by leaving something out.
 */
import { type Static, Type } from "typebox";
import { Compile } from "typebox/compile";
import type { PatchOperation } from "#core/json-diff.ts";

const text = Type.String();
const ReviewSchema = Type.Object({
  apiVersion: Type.Literal("admission.k8s.io/v1"),
  kind: Type.Literal("AdmissionReview"),
  request: Type.Object({
    uid: Type.String({ minLength: 1, maxLength: 128 }),
    kind: Type.Object({ group: text, version: text, kind: text }),
    resource: Type.Object({ group: text, version: text, resource: text }),
    subResource: Type.Optional(text),
    name: Type.Optional(text),
    namespace: Type.Optional(text),
    operation: Type.Enum(["CREATE", "UPDATE", "DELETE", "CONNECT"]),
    userInfo: Type.Object({ username: Type.Optional(text), groups: Type.Optional(Type.Array(text)) }),
    object: Type.Optional(Type.Unknown()),
    oldObject: Type.Optional(Type.Unknown()),
    dryRun: Type.Optional(Type.Boolean()),
  }),
});
export type AdmissionRequest = Static<typeof ReviewSchema>["request"];

const validator = Compile(ReviewSchema);

/** Null: no AdmissionReview of version v1; there is no uid to answer to. `value`: the parsed body. */
export function readReview(value: unknown): AdmissionRequest | null {
  return validator.Check(value) ? value.request : null;
}

export interface AdmissionAnswer {
  readonly apiVersion: "admission.k8s.io/v1";
  readonly kind: "AdmissionReview";
  readonly response: {
    readonly uid: string;
    readonly allowed: boolean;
    readonly status?: { readonly code: number; readonly reason: string; readonly message: string };
    readonly patchType?: "JSONPatch";
    readonly patch?: string;
    readonly warnings?: readonly string[];
  };
}

/** Nothing to say against it, and nothing to change. */
export function allowed(request: AdmissionRequest): AdmissionAnswer {
  return answer({ uid: request.uid, allowed: true });
}

export function patched(
  request: AdmissionRequest,
  patch: readonly PatchOperation[],
  warnings: readonly string[],
): AdmissionAnswer {
  const shown = warningsOf(warnings);
  return answer({
    uid: request.uid,
    allowed: true,
    ...(patch.length > 0 && {
      patchType: "JSONPatch",
      patch: Buffer.from(JSON.stringify(patch)).toString("base64"),
    }),
    ...(shown.length > 0 && { warnings: shown }),
  });
}

/** Its author can put it right: the message names each field. */
export function denied(request: AdmissionRequest, message: string): AdmissionAnswer {
  return answer({ uid: request.uid, allowed: false, status: { code: 403, reason: "Forbidden", message } });
}

/** We were shown something that we do not judge: our configuration is wrong, and so it is refused. */
export function misdirected(request: AdmissionRequest): AdmissionAnswer {
  const { operation, resource, subResource } = request;
  const what = `${operation} ${resource.resource}${subResource === undefined ? "" : `/${subResource}`}`;
  return answer({
    uid: request.uid,
    allowed: false,
    status: { code: 422, reason: "Invalid", message: `sidegate does not judge ${what}; correct its webhook's rules` },
  });
}

/** A fault of ours. Refused: a pod that we could not read does not run. */
export function failed(request: AdmissionRequest): AdmissionAnswer {
  return answer({
    uid: request.uid,
    allowed: false,
    status: { code: 500, reason: "InternalError", message: "sidegate could not judge this; its log says why" },
  });
}

function answer(response: AdmissionAnswer["response"]): AdmissionAnswer {
  return { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response };
}

// kubectl prints each warning; the API server cuts a single one at 256 characters, and all together at 4,096.
const MAX_WARNING = 256;
const MAX_WARNINGS = 15;

function warningsOf(warnings: readonly string[]): string[] {
  const shown = warnings
    .slice(0, MAX_WARNINGS)
    .map((w) => (w.length <= MAX_WARNING ? w : `${w.slice(0, MAX_WARNING - 1)}…`));
  const more = warnings.length - shown.length;
  return more > 0 ? [...shown, `sidegate: and ${more} more warnings`] : shown;
}
