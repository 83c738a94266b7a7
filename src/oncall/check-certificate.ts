/** The webhook's certificate: there, of the authority that the configurations trust, for the Service's name, and not about to end. */
import { X509Certificate } from "node:crypto";
import { CONTROL_OBJECT, CONTROL_SERVICE } from "#contract/control-environment.ts";
import { ADMIN_RESOURCE } from "#kube/admin-resources.ts";
import { WEBHOOK_KINDS, webhooks } from "./check-guarded.ts";
import type { Facts } from "./facts.ts";
import { type Finding, fail, ok, period, warn } from "./finding.ts";
import { listAt, textAt } from "./members.ts";

const DAY = 86_400_000;
/** A replica with less than this takes itself off the air. */
const FAIL_MS = DAY;
/** Renewal begins at 30 days: less than this means that nobody renews. */
const WARN_MS = 14 * DAY;

export async function checkCertificate(facts: Facts): Promise<Finding[]> {
  return [...(await checkLeaf(facts)), ...(await checkTrust(facts))];
}

async function checkLeaf({ cluster, namespace, wallMs }: Facts): Promise<Finding[]> {
  const secret = await cluster.get(ADMIN_RESOURCE.secret, CONTROL_OBJECT.certificates, namespace);
  const renew = `kubectl -n ${namespace} annotate secret ${CONTROL_OBJECT.certificates} sidegate.dev/rotate=leaf`;
  if (secret === null) {
    const says = `Secret ${namespace}/${CONTROL_OBJECT.certificates} is missing: the webhook has nothing to show`;
    return [
      fail(
        "certificate",
        says,
        `restart the webhook, which makes it: kubectl -n ${namespace} rollout restart deployment/sidegate-webhook`,
      ),
    ];
  }
  // Only the public part is looked at.
  const leaf = readPem(Buffer.from(textAt(secret, "data", "tls.crt"), "base64").toString("utf8"));
  if (leaf === null)
    return [fail("certificate", `tls.crt of Secret ${CONTROL_OBJECT.certificates} is no certificate`, renew)];
  const host = `${CONTROL_SERVICE.webhook}.${namespace}.svc`;
  if (leaf.checkHost(host) === undefined)
    return [fail("certificate", `it is not for ${host} but for ${leaf.subjectAltName ?? "nobody"}`, renew)];
  const leftMs = leaf.validToDate.getTime() - wallMs();
  const until = leaf.validToDate.toISOString().slice(0, 16);
  if (leftMs < 0)
    return [fail("certificate", `it ended ${period(-leftMs)} ago: every new agent pod is refused`, renew)];
  if (leaf.validFromDate.getTime() > wallMs())
    return [fail("certificate", `it begins only at ${leaf.validFrom}`, "look at the clocks")];
  if (leftMs < FAIL_MS) return [fail("certificate", `it ends in ${period(leftMs)} (${until})`, renew)];
  if (leftMs < WARN_MS)
    return [warn("certificate", `it ends in ${period(leftMs)} and was not renewed at 30 days`, renew)];
  return [ok("certificate", `for ${host}, until ${until} (${period(leftMs)})`)];
}

/** What the configurations trust must be what the control plane shows. */
async function checkTrust(facts: Facts): Promise<Finding[]> {
  const runtime = await facts.runtime();
  const authority = runtime?.["ca.crt"] ?? "";
  const found = await webhooks(facts);
  const findings: Finding[] = [];
  const fix = `the controller writes it: kubectl -n ${facts.namespace} logs deployment/sidegate-controller`;
  for (const [index, { kind }] of WEBHOOK_KINDS.entries())
    for (const webhook of listAt(found[index], "webhooks")) {
      const bundle = Buffer.from(textAt(webhook, "clientConfig", "caBundle"), "base64").toString("utf8");
      const name = textAt(webhook, "name");
      if (bundle.trim() === "")
        findings.push(fail("trust", `${kind}: ${name} has no caBundle: every call of it fails`, fix));
      else if (authority !== "" && !sameAuthorities(bundle, authority))
        findings.push(fail("trust", `${kind}: the caBundle of ${name} is not the control plane's authority`, fix));
    }
  if (findings.length > 0) return findings;
  if (runtime === null || authority === "")
    return [
      fail(
        "trust",
        `ConfigMap ${facts.namespace}/${CONTROL_OBJECT.runtime} has no ca.crt: what injection needs is not complete`,
        fix,
      ),
    ];
  return found.some((one) => one !== null) ? [ok("trust", "every caBundle is the control plane's authority")] : [];
}

function sameAuthorities(one: string, other: string): boolean {
  const of = (pem: string): readonly string[] =>
    (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [])
      .map((text) => text.replaceAll(/\s/g, ""))
      .sort();
  const [a, b] = [of(one), of(other)];
  return a.length > 0 && a.length === b.length && a.every((text, index) => text === b[index]);
}

function readPem(text: string): X509Certificate | null {
  try {
    return new X509Certificate(text);
  } catch {
    return null;
  }
}
