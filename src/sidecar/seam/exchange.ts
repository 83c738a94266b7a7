/** HTTP/1 and HTTP/2 are lanes; gRPC, Kubernetes and MCP are dialects of their exchanges, and see neither bytes nor versions. */
import type { Profile } from "#contract/policy-port.ts";
import type { RequestTarget } from "#core/request-target.ts";
import type { Lane } from "./lane.ts";
import type { Operation, Permit, Refusal } from "./verdict.ts";

/** `path`: as on the wire, with query; `target`: the same, read once. Field names are compared without case. */
export interface Head {
  readonly method: string;
  readonly scheme: "http" | "https";
  readonly authority: string;
  readonly path: string;
  readonly target: RequestTarget;
  /** Hop-by-hop fields are not among them. The same array when a connection sends the same fields again. */
  readonly fields: readonly (readonly [string, string])[];
  field(name: string): string | null;
}

export interface Answer {
  readonly status: number;
  readonly fields: readonly (readonly [string, string])[];
  readonly body: string;
  readonly trailers: readonly (readonly [string, string])[];
}

export interface Dialect {
  readonly protocol: "http" | "grpc" | "kubernetes" | "mcp";
  claims(head: Head, declared: string | null): boolean;
  /** body: held back (bounded) before judging; messages: SSE events, gRPC frames, one by one. */
  wants(head: Head, profile: Profile): "head" | "body" | "messages";
  operation(head: Head, body: Uint8Array | null, profile: Profile): Operation;
  answer?(ask: Permit<"ask">, status: number, message: Uint8Array): Operation | null;
  refuse(refusal: Refusal, head: Head): Answer; // RFC 9457, or grpc-status 7 in trailers, or a Kubernetes Status, …
  upgrade?(head: Head): Lane | null;
}
