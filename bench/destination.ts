/**
 * In the measured bundle: stands in for the kernel's answer to SO_ORIGINAL_DST. It is never part of what is shipped. The file is
 * beside the bundle; it is read at each connection, as a system call is made at each in a pod.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import type { OriginalDestination } from "../src/sidecar/listen/original-destination.ts";

export const DESTINATION_FILE = "destination.json";

export function originalDestination(): OriginalDestination {
  const file = path.join(import.meta.dirname, DESTINATION_FILE);
  return () => JSON.parse(readFileSync(file, "utf8")) as { address: string; port: number };
}
