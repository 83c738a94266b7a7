import { X509Certificate } from "node:crypto";
import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Clock } from "#core/clock.ts";
import { isMemoryFolder } from "#process/memory-folder.ts";
import { AUTHORITY_FILE, loadAuthority, makeAuthority } from "./authority.ts";

const DAY = 86_400_000;
const START = Date.UTC(2026, 0, 1);
const at = (days: number): Clock => ({ wallMs: () => START + days * DAY, elapsedMs: () => 0 });

let folder = "";
let file = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "authority-"));
  file = path.join(folder, AUTHORITY_FILE);
});
afterEach(() => rm(folder, { recursive: true }));

test("a restarted sidecar has the same authority, so that running agents still trust it", async () => {
  const first = await loadAuthority(folder, at(0));
  const second = await loadAuthority(folder, at(300));
  expect(first.how).toBe("made");
  expect(second.how).toBe("loaded");
  expect(second.authority.caPem).toBe(first.authority.caPem);
  expect(second.authority.validity).toEqual(first.authority.validity);
  expect(Buffer.from(second.authority.subject).equals(first.authority.subject)).toBe(true);
  expect(second.authority.key.equals(first.authority.key)).toBe(true);
});

test("its key lies in one file that only we can read, and nothing else is left there", async () => {
  await loadAuthority(folder, at(0));
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readdir(folder)).toEqual([AUTHORITY_FILE]);
});

test("whether its key lies in memory is said", async () => {
  expect((await loadAuthority(folder, at(0))).memory).toBe(isMemoryFolder(folder));
});

test("it is valid for a year, from an hour ago", () => {
  const { caPem, validity } = makeAuthority(at(0));
  const certificate = new X509Certificate(caPem);
  expect(certificate.validFromDate.getTime()).toBe(START - 3_600_000);
  expect(certificate.validToDate.getTime()).toBe(START + 365 * DAY);
  expect(validity).toEqual({ fromMs: START - 3_600_000, untilMs: START + 365 * DAY });
});

test("two authorities have different names, so that no client takes one for the other", () => {
  expect(new X509Certificate(makeAuthority(at(0)).caPem).subject).not.toBe(
    new X509Certificate(makeAuthority(at(0)).caPem).subject,
  );
});

describe("a file that cannot be trusted is replaced, and said why", () => {
  const replaced = async (why: string, clock = at(1)): Promise<void> => {
    const before = await readFile(file, "utf8").catch(() => "");
    expect(await loadAuthority(folder, clock)).toMatchObject({ how: "replaced", why });
    expect(await readFile(file, "utf8")).not.toBe(before);
    expect(await loadAuthority(folder, clock)).toMatchObject({ how: "loaded" });
  };

  test("readable by others", async () => {
    await loadAuthority(folder, at(0));
    await chmod(file, 0o640);
    await replaced("can be read by others");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  test("a link to somewhere else, which is left as it is", async () => {
    const other = await mkdtemp(path.join(tmpdir(), "other-"));
    await loadAuthority(other, at(0));
    const text = await readFile(path.join(other, AUTHORITY_FILE), "utf8");
    await symlink(path.join(other, AUTHORITY_FILE), file);
    expect(await loadAuthority(folder, at(0))).toMatchObject({ how: "replaced", why: "cannot be opened: ELOOP" });
    expect(await readFile(path.join(other, AUTHORITY_FILE), "utf8")).toBe(text);
    await rm(other, { recursive: true });
  });

  test("cut off", async () => {
    await loadAuthority(folder, at(0));
    await writeFile(file, (await readFile(file, "utf8")).slice(0, -60), { mode: 0o600 });
    await replaced("cannot be parsed");
  });

  test("empty", async () => {
    await writeFile(file, "", { mode: 0o600 });
    await replaced("cannot be parsed");
  });

  test("far too large", async () => {
    await writeFile(file, Buffer.alloc(100_000, 0x41), { mode: 0o600 });
    await replaced("is too large");
  });

  test("a key and a certificate that are no pair", async () => {
    await loadAuthority(folder, at(0));
    const key = (await readFile(file, "utf8")).split("-----BEGIN CERTIFICATE-----")[0] ?? "";
    await writeFile(file, key + makeAuthority(at(0)).caPem, { mode: 0o600 });
    await replaced("key and certificate are no pair");
  });

  test("about to expire", async () => {
    await loadAuthority(folder, at(0));
    await replaced("is about to expire", at(358));
  });

  test("from the future", async () => {
    await loadAuthority(folder, at(10));
    await replaced("is from the future", at(0));
  });
});

test("a folder that is not there, or cannot be written, ends the start", async () => {
  await expect(loadAuthority(path.join(folder, "none"), at(0))).rejects.toThrow("ENOENT");
});

test("a draft that a killed sidecar left is no obstacle", async () => {
  await writeFile(path.join(folder, `.${AUTHORITY_FILE}.${process.pid}`), "half");
  expect((await loadAuthority(folder, at(0))).how).toBe("made");
  expect(await readdir(folder)).toEqual([AUTHORITY_FILE]);
});
