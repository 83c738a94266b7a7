import { X509Certificate } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { trustPaths } from "#contract/trust-environment.ts";
import { systemClock } from "#core/clock.ts";
import { makeAuthority } from "./authority.ts";
import { javaStore } from "./java-store.ts";
import { certificatesIn } from "./pem.ts";
import { readRoots, systemRoots, writeTrustFiles } from "./trust.ts";

const ours = makeAuthority(systemClock).caPem;
const root = makeAuthority(systemClock).caPem;
const corporate = makeAuthority(systemClock).caPem;
const count = (text: string): number => text.match(/BEGIN CERTIFICATE/g)?.length ?? 0;

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "trust-"));
});
afterEach(() => rm(folder, { recursive: true }));

describe("the trust files", () => {
  test("are the bundle of all, our certificate alone, and a Java store; everybody may read them", async () => {
    const paths = trustPaths(folder);
    expect(await writeTrustFiles(paths, { caPem: ours, roots: [root, corporate], nowMs: 1 })).toBe(3);
    expect(await readFile(paths.authority, "utf8")).toBe(ours);
    expect(await readFile(paths.bundle, "utf8")).toBe(ours + root + corporate);
    expect((await readFile(paths.store)).toString("hex", 0, 12)).toBe("feedfeed0000000200000003");
    expect((await readdir(folder)).sort()).toEqual(["ca-bundle.pem", "sidegate-ca.jks", "sidegate-ca.pem"]);
    for (const file of await readdir(folder)) expect((await stat(path.join(folder, file))).mode & 0o777).toBe(0o644);
  });

  test("hold no key, whatever the roots' file holds", async () => {
    const paths = trustPaths(folder);
    const key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    await writeTrustFiles(paths, { caPem: ours, roots: [key + root], nowMs: 1 });
    expect(await readFile(paths.bundle, "utf8")).toBe(ours + root);
  });

  test("are written again over older ones", async () => {
    const paths = trustPaths(folder);
    await writeTrustFiles(paths, { caPem: root, roots: [], nowMs: 1 });
    await writeTrustFiles(paths, { caPem: ours, roots: [], nowMs: 1 });
    expect(await readFile(paths.bundle, "utf8")).toBe(ours);
  });

  test("a folder that is not there ends the start", async () => {
    const paths = trustPaths(path.join(folder, "none"));
    await expect(writeTrustFiles(paths, { caPem: ours, roots: [], nowMs: 1 })).rejects.toThrow("ENOENT");
  });
});

describe("certificates in PEM text", () => {
  test("are found between comments, with either line ending, once", () => {
    const text = `# a root\r\n${root.replaceAll("\n", "\r\n")}\nsubject=x\n${ours}${root}`;
    expect(certificatesIn(text).map((der) => new X509Certificate(der).toString())).toEqual([root, ours]);
  });

  test("are left out where they cannot be read: others would refuse the whole file", () => {
    const broken = root.replace(/\n[A-Za-z0-9+/]{64}\n/, "\n");
    expect(certificatesIn(broken + ours)).toHaveLength(1);
    expect(certificatesIn("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")).toEqual([]);
    expect(certificatesIn("-----BEGIN CERTIFICATE-----\n".repeat(1000))).toEqual([]);
  });

  test("are not looked for in more than 8 MiB", () => {
    expect(() => certificatesIn(" ".repeat(8 * 1024 * 1024 + 1))).toThrow(RangeError);
  });
});

test("the system's roots come from the first file that has any", async () => {
  const empty = path.join(folder, "empty.pem");
  const file = path.join(folder, "roots.pem");
  await writeFile(empty, "nothing");
  await writeFile(file, root);
  expect(await systemRoots([path.join(folder, "absent"), empty, file])).toEqual({ pem: root, from: file });
  expect(count((await systemRoots()).pem)).toBeGreaterThan(50);
});

test("files that the author's variables name are read once; what holds no certificate is named", async () => {
  const file = path.join(folder, "corp.pem");
  const empty = path.join(folder, "empty.pem");
  await writeFile(file, corporate);
  await writeFile(empty, "");
  const absent = path.join(folder, "absent");
  expect(await readRoots([file, file, empty, absent, folder, "/dev/zero"])).toEqual({
    pem: [corporate],
    missing: [empty, absent, folder, "/dev/zero"],
  });
});

test("a Java store has its entries in order and ends in the digest that keytool computes", () => {
  const store = javaStore([{ alias: "a", der: Uint8Array.of(1, 2, 3) }], 0x0102030405, "changeit");
  const body =
    "feedfeed" +
    "00000002" +
    "00000001" +
    "00000002" +
    "000161" +
    "0000000102030405" +
    "0005582e353039" +
    "00000003" +
    "010203";
  expect(store.toString("hex").slice(0, -40)).toBe(body);
  expect(store).toHaveLength(body.length / 2 + 20);
  expect(() => javaStore([{ alias: "ä", der: new Uint8Array() }], 0, "x")).toThrow(RangeError);
});
