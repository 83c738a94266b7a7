/**
 * Agent frameworks report home, retry for seconds when they are refused, and hold up a program's end. Where no target names a framework's
 * host, its own switch is set in the agent's containers; the author's value always stays.
 *
 * A list that grows old errs harmlessly: an unknown framework is refused at the wire as before.
 */
import type { Container } from "./pod.ts";

interface Framework {
  readonly name: string;
  /** Where it reports; all of them have to be unnamed by targets. */
  readonly hosts: readonly string[];
  readonly variables: Readonly<Record<string, string>>;
}

const POSTHOG = ["us.i.posthog.com", "eu.i.posthog.com", "app.posthog.com", "eu.posthog.com"] as const;

export const FRAMEWORKS: readonly Framework[] = [
  {
    name: "CrewAI",
    hosts: ["telemetry.crewai.com"],
    variables: { CREWAI_DISABLE_TELEMETRY: "true", CREWAI_DISABLE_TRACKING: "true", OTEL_SDK_DISABLED: "true" },
  },
  {
    name: "Chroma, Mem0, browser-use",
    hosts: POSTHOG,
    variables: { ANONYMIZED_TELEMETRY: "False", MEM0_TELEMETRY: "False" },
  },
  { name: "Haystack", hosts: POSTHOG, variables: { HAYSTACK_TELEMETRY_ENABLED: "False" } },
  { name: "Hugging Face", hosts: ["huggingface.co"], variables: { HF_HUB_DISABLE_TELEMETRY: "1" } },
  { name: "Gradio", hosts: ["api.gradio.app"], variables: { GRADIO_ANALYTICS_ENABLED: "False" } },
  { name: "vLLM", hosts: ["stats.vllm.ai"], variables: { VLLM_NO_USAGE_STATS: "1" } },
  { name: "Ragas", hosts: ["t.explodinggradients.com"], variables: { RAGAS_DO_NOT_TRACK: "true" } },
  {
    name: "whoever heeds consoledonottrack.com",
    hosts: [...POSTHOG, "telemetry.crewai.com"],
    variables: { DO_NOT_TRACK: "1" },
  },
];

/** What to set. `named`: whether a target of the pod's namespace or of the cluster names a host. */
export function silencing(named: (host: string) => boolean): Readonly<Record<string, string>> {
  return Object.assign(
    {},
    ...FRAMEWORKS.filter(({ hosts }) => !hosts.some(named)).map(({ variables }) => variables),
  ) as Record<string, string>;
}

/** An author who sends traces of his own wants the SDK: then that switch stays untouched. */
export function additions(
  container: Container,
  environment: Readonly<Record<string, string>>,
): { readonly name: string; readonly value: string }[] {
  const theirs = new Set((container.env ?? []).map(({ name }) => name));
  const traces = [...theirs].some((name) => name.startsWith("OTEL_EXPORTER_"));
  return Object.entries(environment)
    .filter(([name]) => !theirs.has(name) && !(traces && name === "OTEL_SDK_DISABLED"))
    .map(([name, value]) => ({ name, value }));
}

/** `telemetry.crewai.com` is named by itself, and by `*.crewai.com`. */
export function namesHost(hosts: Iterable<string>, host: string): boolean {
  const wildcard = `*${host.slice(host.indexOf("."))}`;
  for (const one of hosts) if (one === host || one === wildcard) return true;
  return false;
}
