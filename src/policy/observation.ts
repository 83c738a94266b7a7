/**
 * Observe mode has an end: from its date on a bundle enforces, by the sidecar's own clock, whether or not a newer bundle comes.
 * A date that is no number of a date (NaN) is none that lies ahead: enforced.
 */
import type { OpenBundle } from "./bundle.ts";

/** The same bundle, enforcing where its observation is over. */
export function bundleAt(bundle: OpenBundle, wallMs: number): OpenBundle {
  return observesUntil(bundle) > wallMs ? bundle : enforcing(bundle);
}

/** Wall milliseconds; Infinity: it observes without end, or does not observe at all. */
export function observesUntil({ manifest }: OpenBundle): number {
  const { mode, observeUntilMs } = manifest.metadata.settings;
  return mode === "observe" && observeUntilMs !== undefined ? observeUntilMs : Number.POSITIVE_INFINITY;
}

function enforcing(bundle: OpenBundle): OpenBundle {
  const { manifest } = bundle;
  const { settings } = manifest.metadata;
  const metadata = { ...manifest.metadata, settings: { ...settings, mode: "enforce" as const } };
  return { ...bundle, manifest: { ...manifest, metadata } };
}
