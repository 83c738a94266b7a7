/**
 * What becomes of an author's container: no capability, no new privileges, a seccomp profile, trust in our authority,
 * the service account without its token. Everything else stays as it was written; a root image stays root.
 */
import { planEnvironment } from "./environment.ts";
import { planMounts } from "./mounts.ts";
import type { InjectionOptions } from "./options.ts";
import type { Container, Volume } from "./pod.ts";
import type { PlacedContainer } from "./pod-containers.ts";
import { agentProfile } from "./seccomp-profile.ts";
import { additions } from "./telemetry.ts";
import type { Violation } from "./violation.ts";

export interface AgentPlan {
  readonly container: Container;
  /** Volumes whose mount at the service account's place was taken away. */
  readonly replaced: readonly string[];
  readonly warnings: readonly Violation[];
  readonly violations: readonly Violation[];
}

/** `options.environment`: what is set where the author has set nothing. */
export function planAgent(
  { container, field }: PlacedContainer,
  volumes: readonly Volume[],
  options: Pick<InjectionOptions, "environment" | "seccomp">,
): AgentPlan {
  const environment = planEnvironment(container, field);
  const mounts = planMounts(container, field, volumes);
  const warnings = [...environment.warnings, ...mounts.warnings];
  if (container.securityContext?.allowPrivilegeEscalation === true)
    warnings.push({
      field: `${field}.securityContext.allowPrivilegeEscalation`,
      message: "set to false: sudo and other setuid programs gain nothing here",
    });
  return {
    container: {
      ...container,
      env: [...environment.env, ...additions(container, options.environment)],
      volumeMounts: [...mounts.mounts],
      securityContext: {
        ...container.securityContext,
        allowPrivilegeEscalation: false,
        capabilities: { drop: ["ALL"] },
        seccompProfile: agentProfile(options),
      },
    },
    replaced: mounts.replaced,
    warnings,
    violations: mounts.violations,
  };
}
