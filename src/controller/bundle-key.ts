/** The Ed25519 key that signs every bundle of this cluster: in one Secret, made once however many replicas start together. */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { CONTROL_OBJECT } from "#contract/control-environment.ts";
import type { SecretObject } from "#kube/certificate-keeper.ts";
import { hasStatus, type Kube } from "#kube/port.ts";
import { RESOURCE } from "#kube/resources.ts";
import type { SigningKey } from "#policy/signature.ts";

export interface BundleKey extends SigningKey {
  readonly publicPem: string;
}

/** The id that signatures bear; SIDEGATE_BUNDLE_KEY_ID of injected pods. */
export const BUNDLE_KEY_ID = "sidegate";

/** Rejects where the API server cannot be reached, or the Secret is there and holds no key (never replaced: pods trust the old one). */
export async function keepBundleKey(kube: Kube, namespace: string): Promise<BundleKey> {
  const at = { namespace, name: CONTROL_OBJECT.bundleKey };
  for (;;) {
    const found = await kube.get<SecretObject>(RESOURCE.secret, at);
    if (found !== null) {
      const privateKey = createPrivateKey(Buffer.from(found.data?.["key.pem"] ?? "", "base64"));
      const publicPem = createPublicKey(privateKey).export({ type: "spki", format: "pem" });
      return { id: BUNDLE_KEY_ID, privateKey, publicPem };
    }
    const pem = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" });
    const data = { "key.pem": Buffer.from(pem).toString("base64") };
    await kube.create<SecretObject>(RESOURCE.secret, { metadata: at, type: "Opaque", data }).catch((fault: unknown) => {
      if (!hasStatus(fault, 409)) throw fault;
    });
  }
}
