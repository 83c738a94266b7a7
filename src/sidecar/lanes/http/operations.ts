/** From a request to the operation that is judged: by the dialect that claims it, on the policy now in force. */
import type { Profile } from "#contract/policy-port.ts";
import type { Target } from "#contract/target.ts";
import type { Dialect } from "#sidecar/seam/exchange.ts";
import type { Operation } from "#sidecar/seam/verdict.ts";
import { USUAL_HEAD_BYTES } from "./codec/head-reader.ts";
import { touchesAuthenticator } from "./credentialed/authenticator-paths.ts";
import { broughtIn } from "./credentialed/brought.ts";
import { READS_ALL, type RequestView } from "./request-view.ts";

interface Made {
  readonly view: RequestView;
  readonly profile: Profile;
  readonly operation: Operation;
}

/** One for a connection: it keeps the last operation, for agents repeat themselves. */
export class Operations {
  readonly #dialects: readonly Dialect[];
  readonly #declared: string | null;
  readonly #credential: string | null;
  #last: Made | null = null;

  /** `dialects`: asked in order; the last one claims everything. */
  constructor(dialects: readonly Dialect[], { protocol, credential }: Pick<Target, "protocol" | "credential">) {
    this.#dialects = dialects;
    this.#declared = protocol ?? null;
    this.#credential = credential ?? null;
  }

  dialectOf(view: RequestView): Dialect {
    const dialect = this.#dialects.find((d) => d.claims(view, this.#declared));
    if (dialect === undefined) throw new Error("no dialect claims plain HTTP");
    return dialect;
  }

  /** `profile`: null where no bundle is in force; then all of the request is in it. */
  of(view: RequestView, dialect: Dialect, profile: Profile | null): Operation {
    const reads = profile ?? READS_ALL;
    const last = this.#last;
    if (last !== null && last.profile === reads && last.view.same(view)) return last.operation;
    const operation = this.#guarded(dialect.operation(view, null, reads), view);
    this.#last = view.size <= USUAL_HEAD_BYTES ? { view, profile: reads, operation } : null;
    return operation;
  }

  /** With what it brings along; and where the target has a credential of ours, an act on authenticators is named as one. */
  #guarded(operation: Operation, view: RequestView): Operation {
    const credential = this.#credential;
    if (credential === null && !view.mayHoldPlaceholder) return operation;
    const brought = broughtIn({ raw: view.path, fields: view.fields }, credential);
    const { segments, query } = view.target;
    const touches = credential !== null && touchesAuthenticator(view.method, segments, query);
    const action = touches ? "credential" : operation.action;
    return brought === undefined ? { ...operation, action } : { ...operation, action, brought };
  }
}
