import { expect, test } from "vitest";
import type { BundleMetadata } from "./manifest.ts";
import { createProfile } from "./profile.ts";

function profile(reads: readonly string[] | null): ReturnType<typeof createProfile> {
  const metadata: BundleMetadata = {
    reads,
    mayHold: false,
    mayMask: true,
    settings: { mode: "enforce", denialDetail: "full" },
    policies: [],
    rules: [],
  };
  return createProfile("r1", metadata);
}

test("a path is read when it, something above it or something below it is", () => {
  const known = profile(["http.method", "http.headers", "run.user"]);
  const reads = (path: string): boolean => known.reads(path);
  for (const path of [
    "http",
    "http.method",
    "http.headers",
    "http.headers.cookie",
    "http.headers.a.b",
    "run",
    "run.user",
  ])
    expect(reads(path), path).toBe(true);
  for (const path of ["http.query", "http.head", "http.headersx", "run.id", "tls", "time"])
    expect(reads(path), path).toBe(false);
});

test("a policy that reads the whole input reads everything, and so does one of which nothing is known", () => {
  for (const known of [[""], ["", "http"], null]) expect(profile(known).reads("anything.at.all")).toBe(true);
  expect(profile([]).reads("http")).toBe(false);
});

test("the answer does not change when it is asked for again", () => {
  const known = profile(["http.method"]);
  const reads = (path: string): boolean => known.reads(path);
  for (let n = 0; n < 600; n++) reads(`http.x${n}`);
  expect([reads("http.x1"), reads("http.method"), reads("http.method")]).toEqual([false, true, true]);
});
