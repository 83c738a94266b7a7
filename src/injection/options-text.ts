/** The injection options as they lie in a file (YAML or JSON), for the processes that read them again when it changes. */
import { parse } from "yaml";
import { type InjectionOptions, readOptions } from "./options.ts";
import { describeViolations } from "./violation.ts";

/** Throws with everything that is wrong. */
export function parseOptions([text = ""]: readonly string[]): InjectionOptions {
  const reading = readOptions(parse(text));
  if (reading.kind === "malformed") throw new Error(describeViolations(reading.violations));
  return reading.options;
}
