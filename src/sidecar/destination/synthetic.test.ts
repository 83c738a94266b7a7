import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import * as fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { SYNTHETIC } from "#contract/names.ts";
import { formatAddress, parseAddress } from "#core/cidr.ts";
import { memoryNames, openNameFile } from "./name-file.ts";
import { type NameStore, SyntheticNames, type SyntheticOptions } from "./synthetic.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});
function namesFile(): string {
  const folder = mkdtempSync(path.join(tmpdir(), "sidegate-names-"));
  folders.push(folder);
  return path.join(folder, "names");
}
const open = (store: NameStore, more: Partial<SyntheticOptions> = {}): SyntheticNames =>
  new SyntheticNames({ ...SYNTHETIC, store, ...more });
const text4 = (bytes: Uint8Array): string => formatAddress({ family: 4, bytes });
const text6 = (bytes: Uint8Array): string => formatAddress({ family: 6, bytes });
const at = (names: SyntheticNames, text: string): string | null | undefined => names.nameAt(parseAddress(text)!);

describe("THREATS N9: one name, one address", () => {
  test("two names never share an address, and each address says its name", () => {
    const names = open(memoryNames());
    const seen = new Set<string>();
    for (let i = 0; i < 700; i++) {
      const given = names.give(`n${i}.example`, null)!;
      for (const text of [text4(given.v4), text6(given.v6)]) {
        expect(seen.has(text)).toBe(false);
        seen.add(text);
        expect(at(names, text)).toBe(`n${i}.example`);
      }
    }
    expect(text4(names.give("n0.example", null)!.v4)).toBe("240.240.0.1");
    expect(text4(names.give("n699.example", null)!.v4)).toBe("240.240.2.188");
    expect(text6(names.give("n699.example", null)!.v6)).toBe("fd53:6467:6174:6500::2bc");
  });

  test("an address that was never given out is nobody's, and one of another range is no business of ours", () => {
    const names = open(memoryNames());
    names.give("a.example", null);
    for (const text of [
      "240.240.0.0",
      "240.240.0.2",
      "240.240.255.255",
      "fd53:6467:6174:6500::",
      "fd53:6467:6174:6500::2",
      "fd53:6467:6174:6500:1::1",
      "fd53:6467:6174:6500:0:0:ffff:ffff",
    ])
      expect(at(names, text), text).toBeNull();
    for (const text of ["240.241.0.1", "fd53:6467:6174:6501::1", "192.0.2.1", "::1"])
      expect(at(names, text), text).toBeUndefined();
  });

  test("names keep their addresses over a restart, in whatever order they are asked for", () => {
    const file = namesFile();
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 30 }), { maxLength: 20 }), (order) => {
        const store = openNameFile(file);
        const names = open(store);
        const given = order.map((n) => [n, text4(names.give(`n${n}.example`, null)!.v4)] as const);
        store.close();
        const again = openNameFile(file);
        const later = open(again);
        for (const [n, address] of given) {
          expect(at(later, address)).toBe(`n${n}.example`);
          expect(text4(later.give(`n${n}.example`, null)!.v4)).toBe(address);
        }
        again.close();
      }),
      { numRuns: 20 },
    );
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });
});

describe("what is on file", () => {
  test("half a last line, left by a killed process, is cut off and its address given to the next name", () => {
    const file = namesFile();
    const first = openNameFile(file);
    open(first).give("a.example", null);
    first.close();
    writeFileSync(file, `${readFileSync(file, "latin1")}2 half.exam`);
    const second = openNameFile(file);
    const names = open(second);
    expect(at(names, "240.240.0.2")).toBeNull();
    names.give("b.example", null);
    second.close();
    expect(readFileSync(file, "latin1").split("\n").slice(1)).toEqual(["1 a.example -", "2 b.example -", ""]);
  });

  test.each([
    ["another range", (text: string) => text.replace("240.240.0.0/16", "240.241.0.0/16")],
    ["a number left out", (text: string) => text.replace("2 b.example", "3 b.example")],
    ["a name twice", (text: string) => text.replace("b.example", "a.example")],
    ["a line taken out", (text: string) => text.replace("1 a.example -\n", "")],
    ["something else", () => "hello\n"],
    ["an odd name", (text: string) => text.replace("b.example", "B.example")],
  ])("is refused with %s, for guessing could give one address to two names", (_what, spoil) => {
    const file = namesFile();
    const store = openNameFile(file);
    const names = open(store);
    names.give("a.example", null);
    names.give("b.example", null);
    store.close();
    writeFileSync(file, spoil(readFileSync(file, "latin1")));
    const again = openNameFile(file);
    expect(() => open(again)).toThrow(expect.objectContaining({ code: "synthetic_state_invalid" }));
    again.close();
  });

  test("is never reached through a symbolic link", () => {
    const file = namesFile();
    writeFileSync(`${file}.other`, "");
    symlinkSync(`${file}.other`, file);
    expect(() => openNameFile(file)).toThrow(/ELOOP/);
  });

  test("a name that cannot be put on file gets no address, and the next one is not harmed", () => {
    let writable = true;
    const inner = memoryNames();
    const names = open({ load: () => inner.load(), append: (lines) => writable && inner.append(lines) });
    names.give("a.example", null);
    writable = false;
    expect(names.give("b.example", null)).toBeNull();
    expect(names.give("a.example", null)).not.toBeNull();
    writable = true;
    expect(text4(names.give("c.example", null)!.v4)).toBe("240.240.0.2");
    expect(inner.load()).not.toContain("b.example");
  });

  test("a file that was closed takes nothing more", () => {
    const store = openNameFile(namesFile());
    const names = open(store);
    store.close();
    expect(names.give("a.example", null)).toBeNull();
  });
});

describe("THREATS N8: names are bounded", () => {
  test("one target's wildcards take so many names and no more, also after a restart; its own and exact names go on", () => {
    const store = memoryNames();
    const names = open(store, { maxPerWildcardTarget: 3 });
    for (const n of [1, 2, 3]) expect(names.give(`w${n}.example`, "wild")).not.toBeNull();
    expect(names.give("w4.example", "wild")).toBeNull();
    const later = open(store, { maxPerWildcardTarget: 3 });
    expect(later.give("w5.example", "wild")).toBeNull();
    expect(later.give("w1.example", "wild")).not.toBeNull();
    expect(later.give("o1.example", "other")).not.toBeNull();
    expect(later.give("exact.example", null)).not.toBeNull();
  });

  test("wildcards of all targets leave half of the addresses to exact names", () => {
    const names = open(memoryNames(), { v4: "240.240.0.0/24", maxNames: 10 });
    const given = Array.from({ length: 20 }, (_, i) => names.give(`w${i}.example`, `t${i}`));
    expect(given.filter((g) => g !== null)).toHaveLength(5);
    const exact = Array.from({ length: 20 }, (_, i) => names.give(`e${i}.example`, null));
    expect(exact.filter((g) => g !== null)).toHaveLength(5);
    expect(names.size).toBe(10);
  });

  test("the last address of a range is given out, the broadcast-like ends are not", () => {
    const names = open(memoryNames(), { v4: "240.240.0.0/24" });
    const all = Array.from({ length: 300 }, (_, i) => names.give(`n${i}.example`, null));
    expect(all.filter((g) => g !== null)).toHaveLength(254);
    expect(at(names, "240.240.0.254")).toBe("n253.example");
    expect(at(names, "240.240.0.255")).toBeNull();
  });

  test("what is no host name gets no address", () => {
    const names = open(memoryNames());
    for (const bad of ["", "a b", "a\nb", "\\042.example", "A.example", "a.", "-a", "a".repeat(254)])
      expect(names.give(bad, null), JSON.stringify(bad)).toBeNull();
  });
});

test("a range too small or of the wrong family is a mistake in the configuration", () => {
  for (const bad of [{ v4: "240.240.0.0/25" }, { v4: "fd00::/64" }, { v6: "240.0.0.0/8" }, { v6: "fd00::/97" }])
    expect(() => open(memoryNames(), bad)).toThrow(RangeError);
});
