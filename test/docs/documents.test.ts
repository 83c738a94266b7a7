/**
 * What the documents tell a reader to type or to look at is there: commands and their options by the program's own usage, values by the
 * chart's schema, metrics by their catalogue, links by the files and headings that they lead to.
 */
import { existsSync, globSync, readFileSync } from "node:fs";
import path from "node:path";
import { Command } from "commander";
import { expect, test } from "vitest";
import { registerAudit } from "../../cmd/sidegate/audit.ts";
import { registerDoctor } from "../../cmd/sidegate/doctor.ts";
import { registerFreeze, registerUnfreeze } from "../../cmd/sidegate/freeze.ts";
import { registerInject } from "../../cmd/sidegate/inject.ts";
import { registerPolicy } from "../../cmd/sidegate/policy.ts";
import { registerPurge } from "../../cmd/sidegate/purge.ts";
import { registerRedteam } from "../../cmd/sidegate/redteam.ts";
import { registerRun } from "../../cmd/sidegate/run.ts";
import { registerStatus } from "../../cmd/sidegate/status.ts";
import { registerWhy } from "../../cmd/sidegate/why.ts";

const FILES = globSync(["*.md", "{docs,policies,charts,deploy,examples,test,bench}/**/*.md"]).filter(
  (file) => !file.includes("node_modules") && !file.includes("/golden/"),
);
const DOCUMENTS = new Map(FILES.map((file) => [file, readFileSync(file, "utf8")]));
/** And what the program and the chart print. */
const TEXTS = new Map([
  ...DOCUMENTS,
  ...globSync([
    "cmd/sidegate/*.ts",
    "src/{oncall,local,contract}/*.ts",
    "charts/gateway/templates/NOTES.txt",
    "charts/gateway/alerts/*",
  ])
    .filter((file) => !file.endsWith(".test.ts"))
    .map((file) => [file, readFileSync(file, "utf8")] as const),
]);

const program = new Command("sidegate").enablePositionalOptions();
for (const register of [registerRun, registerPolicy, registerAudit, registerFreeze, registerUnfreeze])
  register(program);
for (const register of [registerDoctor, registerStatus, registerRedteam, registerPurge, registerInject])
  register(program);
registerWhy(program);

/** What is wrong with a command line; null: nothing. */
function wrongWith(words: readonly string[]): string | null {
  let command: Command = program;
  let at = 0;
  for (let next; (next = command.commands.find((one) => one.name() === words[at])) !== undefined; at++) command = next;
  if (command === program) return `no command ${words[0]}`;
  if (command.commands.length > 0 && words[at] !== undefined && /^[a-z]+$/.test(words[at] ?? ""))
    return `${command.name()} has no ${words[at]}`;
  for (const word of words.slice(at)) {
    if (word === "--") return null; // what follows is somebody else's
    const flag = /^(--[a-z][a-z-]*|-[A-Za-z])/.exec(word)?.[1];
    if (flag === undefined || ["--help", "-h", "--version"].includes(flag)) continue;
    if (!command.options.some(({ long, short }) => long === flag || short === flag))
      return `sidegate ${command.name()} has no ${flag}`;
  }
  return null;
}

test("a command that a document or a message quotes exists, and so do its options", () => {
  const wrong: string[] = [];
  let count = 0;
  for (const [file, text] of TEXTS) {
    // In prose a command stands between back quotes; in an example it begins its line.
    const quoted = [
      ...text.matchAll(/`([^`\n]*)`/g),
      ...text.matchAll(/^((?:\$ |[A-Z_]+=\S+ )*(?:bin\/)?sidegate [a-z].*)$/gm),
    ];
    for (const [, line = ""] of quoted) {
      for (const [, words = ""] of line.matchAll(/^(?:\$ |[A-Z_]+=\S+ )*(?:bin\/)?sidegate((?: +[^#|;&…]+)+)/g)) {
        const list = words.trim().split(/\s+/);
        // `sidegate_metric`, `sidegate:` and the like are none; a template's hole is whatever it is.
        if (!/^[a-z]+$/.test(list[0] ?? "") || list[0] === "cannot") continue;
        count++;
        const why = wrongWith(list);
        if (why !== null) wrong.push(`${file}: ${line.slice(0, 100)}: ${why}`);
      }
    }
  }
  // In messages a command stands in a sentence.
  const names = program.commands.map((one) => one.name()).join("|");
  const inSentence = new RegExp(`\\bsidegate ((?:${names})\\b[^"\`';:,.()\\\\]*)`, "g");
  for (const [file, text] of TEXTS)
    if (file.endsWith(".ts"))
      for (const [, words = ""] of text.replaceAll(/^\s*(?:\/\*|\*|\/\/).*$/gm, "").matchAll(inSentence)) {
        count++;
        const why = wrongWith(
          words
            .replaceAll(/\$\{[^}]*\}?/g, "X")
            .trim()
            .split(/\s+/),
        );
        if (why !== null) wrong.push(`${file}: ${words}: ${why}`);
      }
  expect(wrong).toEqual([]);
  expect(count).toBeGreaterThan(80);
  expect(
    ["policy tset", "run --polic x -- y", "nonsense", "audit query --sinze 1h", "why -x"].map((l) =>
      wrongWith(l.split(" ")),
    ),
  ).not.toContain(null);
});

test("a link within the documents leads to a file that is there, and to a heading of it", () => {
  const broken: string[] = [];
  let count = 0;
  for (const [file, text] of DOCUMENTS)
    for (const [, link = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      count++;
      const [to = "", anchor] = link.split("#");
      const target = to === "" ? file : path.normalize(path.join(path.dirname(file), to));
      if (!existsSync(target) || (anchor !== undefined && !headingsOf(target).has(anchor)))
        broken.push(`${file}: ${link}`);
    }
  expect(broken).toEqual([]);
  expect(count).toBeGreaterThan(20);
});

function headingsOf(file: string): ReadonlySet<string> {
  const text = readFileSync(file, "utf8").replaceAll(/^```[\s\S]*?^```/gm, "");
  const slug = (title: string): string =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-");
  return new Set([...text.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) => slug(title)));
}

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
  readonly type?: string | readonly string[];
}
const VALUES = JSON.parse(readFileSync("charts/gateway/values.schema.json", "utf8")) as Schema;

function isValue(name: string): boolean {
  let at: Schema | undefined = VALUES;
  for (const part of name.split(".")) {
    const place: Schema = at?.$ref === undefined ? (at ?? {}) : (VALUES.$defs?.[at.$ref.replace("#/$defs/", "")] ?? {});
    const more = place.additionalProperties;
    at = place.properties?.[part] ?? place.items?.properties?.[part] ?? (typeof more === "object" ? more : undefined);
    // An object of Kubernetes' own: its schema is not ours.
    if (at === undefined) return place.properties === undefined && place.type === "object" && more !== false;
  }
  return at !== undefined;
}

test("a value that a document names, or sets, is in the chart's schema", () => {
  const sections = Object.keys(VALUES.properties ?? {}).join("|");
  const named = new RegExp(`\`((?:${sections})(?:\\.[a-zA-Z]+)+)(?:: [^\`]*|=[^\`]*)?\``, "g");
  const unknown: string[] = [];
  let count = 0;
  for (const [file, text] of DOCUMENTS)
    for (const [, name = ""] of [
      ...text.matchAll(named),
      ...text.matchAll(/--set(?:-string|-json)? '?([a-zA-Z.]+)[=[]/g),
    ]) {
      count++;
      if (!/\.(?:ts|yaml|gz|json|md)$/.test(name) && !isValue(name)) unknown.push(`${file}: ${name}`);
    }
  expect(unknown).toEqual([]);
  expect(count).toBeGreaterThan(50);
});

test("a metric that a document or an alert names is in the catalogue", () => {
  const catalogue = readFileSync("docs/metrics.md", "utf8");
  const unknown: string[] = [];
  let count = 0;
  for (const [file, text] of TEXTS) {
    if (file.endsWith(".ts")) continue;
    for (const [, name = ""] of text.matchAll(/\b(sidegate_[a-z]+(?:_[a-z]+)+)\b(?![*_])/g)) {
      count++;
      if (
        !catalogue.includes(`\`${name.replace(/_(?:bucket|sum|count)$/, "")}\``) &&
        !catalogue.includes(`\`${name}\``)
      )
        unknown.push(`${file}: ${name}`);
    }
  }
  expect(unknown).toEqual([]);
  expect(count).toBeGreaterThan(100);
});
