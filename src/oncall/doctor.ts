/**
 * `sidegate doctor`: everything that has to hold in a cluster before agents are trusted to it, one line a check.
 *
 * A check that could not look is a failure, never silence: it says which right is missing.
 */
import { checkAdmission } from "./check-admission.ts";
import { checkClock, checkNodeClocks, checkVersion } from "./check-api.ts";
import { checkCertificate } from "./check-certificate.ts";
import { checkCollector } from "./check-collector.ts";
import { checkController } from "./check-controller.ts";
import { checkDataplane } from "./check-dataplane.ts";
import { checkDefinitions, checkGuarded } from "./check-guarded.ts";
import { checkEndpoints, checkInstalled } from "./check-installed.ts";
import { checkMesh, checkPodSecurity, checkRoom } from "./check-namespaces.ts";
import { checkSeccomp } from "./check-seccomp.ts";
import { MissingRight, Unreachable } from "./cluster.ts";
import type { Facts } from "./facts.ts";
import { type Finding, fail } from "./finding.ts";

export interface Check {
  readonly name: string;
  readonly look: (facts: Facts) => Promise<readonly Finding[]>;
}

export function doctorChecks(ownVersion: string): readonly Check[] {
  return [
    { name: "api version", look: checkVersion },
    { name: "clock", look: checkClock },
    { name: "node clocks", look: checkNodeClocks },
    { name: "installed", look: (facts) => checkInstalled(facts, ownVersion) },
    { name: "endpoints", look: checkEndpoints },
    { name: "certificate", look: checkCertificate },
    { name: "webhooks", look: checkGuarded },
    { name: "definitions", look: checkDefinitions },
    { name: "controller", look: checkController },
    { name: "collector", look: checkCollector },
    { name: "dataplane", look: checkDataplane },
    { name: "seccomp", look: checkSeccomp },
    { name: "pod security", look: checkPodSecurity },
    { name: "mesh", look: checkMesh },
    { name: "room", look: checkRoom },
    { name: "admission try", look: checkAdmission },
  ];
}

/** In order, each told as soon as it is known. Rejects only where the API server cannot be reached at all. */
export async function* examine(checks: readonly Check[], facts: Facts): AsyncGenerator<Finding> {
  for (const { name, look } of checks) {
    let findings: readonly Finding[];
    try {
      findings = await look(facts);
    } catch (fault) {
      if (fault instanceof Unreachable) throw fault;
      findings = [notLooked(name, fault)];
    }
    yield* findings;
  }
}

function notLooked(check: string, fault: unknown): Finding {
  const why = fault instanceof Error ? fault.message : String(fault);
  if (fault instanceof MissingRight)
    return fail(check, `not looked at: ${why}`, "ask for that right, or let somebody who has it run this");
  return fail(check, `not looked at: ${why}`, "run it again; where it stays, the message says what is wrong");
}
