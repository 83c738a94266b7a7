/**
 * Keeps the certificates' Secret: the only truth, made once however many replicas start together (the first `create` wins, the
 * others read it), renewed by whoever sees first that it is due, and told to this process whenever it changes.
 */
import type { Clock } from "#core/clock.ts";
import { type CertificateData, certificatesDue } from "./certificates.ts";
import { hasStatus, type Kube, type KubeObject, type Name } from "./port.ts";
import { RESOURCE } from "./resources.ts";

export interface SecretObject extends KubeObject {
  readonly type?: string;
  /** Base64. */
  readonly data?: Readonly<Record<string, string>>;
}

/** On the Secret: `leaf` or `ca`. Taken away when it is done. */
export const ROTATE = "sidegate.dev/rotate";

export interface KeeperOptions {
  readonly kube: Kube;
  readonly secret: Name;
  readonly names: readonly string[];
  readonly clock: Clock;
  readonly settleMs?: number;
  /** `secret`: somebody else makes and renews it (cert-manager); it is read, never written. */
  readonly by?: "self" | "secret";
}

const SETTLE_MS = 600_000;
/** Another replica may be quicker each time; more often than this, something else is wrong. */
const ATTEMPTS = 8;
const MEMBERS = ["ca.crt", "ca.key", "tls.crt", "tls.key", "next.crt", "next.key"] as const;

/** What is in the Secret now, after doing what is due. Rejects where the API server cannot be reached; `secret`: while nothing is there. */
export async function keepCertificates(options: KeeperOptions): Promise<CertificateData> {
  const { kube, secret: at, names, clock, settleMs = SETTLE_MS } = options;
  for (let attempt = 1; ; attempt++) {
    const found = await kube.get<SecretObject>(RESOURCE.secret, at);
    const data = found === null ? null : readCertificates(found);
    if (options.by === "secret") {
      if (data !== null && data["ca.crt"] !== "") return data;
      throw new Error(
        `the Secret ${at.name} has no tls.crt and ca.crt yet: whoever issues certificates here has to write them`,
      );
    }
    const asked = found?.metadata.annotations?.[ROTATE];
    const rotate = asked === "leaf" || asked === "ca" ? asked : "";
    const due = certificatesDue(data, { names, nowMs: clock.wallMs(), rotate, settleMs });
    if (due === data) return due;
    const { [ROTATE]: _done, ...annotations } = found?.metadata.annotations ?? {};
    const object: SecretObject = {
      metadata: { ...(found?.metadata ?? at), annotations },
      type: found?.type ?? "Opaque",
      data: Object.fromEntries(
        Object.entries(due)
          .filter(([, text]) => text !== "")
          .map(([name, text]) => [name, Buffer.from(text as string).toString("base64")]),
      ),
    };
    try {
      if (found === null) await kube.create(RESOURCE.secret, object);
      else await kube.replace(RESOURCE.secret, object);
      return due;
    } catch (fault) {
      if (!hasStatus(fault, 409) || attempt >= ATTEMPTS) throw fault;
    }
  }
}

/** Null where nothing of it is there. */
export function readCertificates(secret: SecretObject): CertificateData | null {
  const text = (name: string): string => Buffer.from(secret.data?.[name] ?? "", "base64").toString("utf8");
  const data = Object.fromEntries(MEMBERS.map((name) => [name, text(name)])) as Record<
    (typeof MEMBERS)[number],
    string
  >;
  return data["tls.crt"] === "" ? null : data;
}
