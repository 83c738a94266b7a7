/**
 * One part of `verify`: what the control plane's own acts account for. Each line that is not there any more must have been removed
 * by an act of retention, to the line; and a boot without its end may have been accepted by name.
 */
import { CONTROL_BOOT } from "./act.ts";
import type { Findings } from "./finding.ts";
import { number, object, parse, text } from "./rows.ts";
import type { BootRow, RecordRow } from "./store/port.ts";

export class ActsRead {
  /** Boot → up to which line its missing end was accepted. */
  readonly accepted = new Map<string, number>();
  readonly #removed = new Map<string, { readonly through: number; readonly chain: string }>();
  #count = 0;

  take({ boot, kind, core }: RecordRow): void {
    if (boot !== CONTROL_BOOT || kind !== "act") return;
    const members = parse(core);
    if (members === null) return;
    if (members["act"] === "accept") this.accepted.set(text(members["boot"]) ?? "", number(members["through"]) ?? 0);
    if (members["act"] !== "remove" || !Array.isArray(members["boots"])) return;
    this.#count += number(members["count"]) ?? 0;
    for (const item of members["boots"]) {
      const { boot: name, through, chain } = object(item);
      this.#removed.set(text(name) ?? "", { through: number(through) ?? 0, chain: text(chain) ?? "" });
    }
  }

  /** `gone`: how many lines the log has places for, but no lines. */
  finish(findings: Findings, known: ReadonlyMap<string, BootRow>, gone: number): void {
    if (gone !== this.#count)
      findings.add("removal", "", 0, `${gone} records are gone, and acts of retention account for ${this.#count}`);
    for (const [boot, { baseSeq, baseChain }] of known) {
      if (baseSeq === 0) continue;
      const act = this.#removed.get(boot);
      if (act === undefined || act.through !== baseSeq || act.chain !== baseChain)
        findings.add("removal", boot, 1, "its first records are gone, and no act of retention says so", baseSeq);
    }
  }
}
