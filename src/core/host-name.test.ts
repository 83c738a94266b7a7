import { expect, test } from "vitest";
import { isHostName } from "./host-name.ts";

test.each([
  "localhost",
  "a.example",
  "xn--bcher-kva.example",
  "_dmarc.a_b.example",
  "1.example",
  "10.0.0.7",
  "a",
  "3com.example",
  "1e100.net",
  `${"a.".repeat(126)}a`,
  "x".repeat(63),
])("%s is a host", (name) => {
  expect(isHostName(name)).toBe(true);
});

test.each([
  "",
  ".",
  "a.",
  ".a",
  "a..b",
  "A.example",
  "-a.example",
  "a-.example",
  "a b",
  "a\0b",
  "a,b",
  "*.example",
  "ä.example",
  "a:1",
  "[::1]",
  "::1",
  "fe80::1%eth0",
  "1",
  "1.2.3",
  "127.1",
  "1.2.3.4.5",
  "256.0.0.1",
  "010.0.0.1",
  "0x7f.1",
  "0x7f000001",
  "a.0x1",
  "a.1",
  "x".repeat(64),
  `${"a.".repeat(127)}a`,
])("%j is none", (name) => {
  expect(isHostName(name)).toBe(false);
});
