import { expect, test } from "vitest";
import { parseInitConfig } from "./init-config.ts";

const GOOD = { SIDEGATE_UID: "1947264001", SIDEGATE_DATAPLANE: "nft", SIDEGATE_INBOUND: "80,8080" };

test("reads what injection writes, and always lets the admin port in", () => {
  expect(parseInitConfig(GOOD)).toEqual({
    kind: "config",
    config: { proxyUid: 1_947_264_001, dataplane: "nft", inboundTcp: [15_890, 80, 8080], mesh: null },
  });
});

test("no inbound port and no back end named is fine", () => {
  expect(parseInitConfig({ SIDEGATE_UID: "1900000000", SIDEGATE_INBOUND: "" })).toEqual({
    kind: "config",
    config: { proxyUid: 1_900_000_000, dataplane: "auto", inboundTcp: [15_890], mesh: null },
  });
});

test("names every problem at once", () => {
  const result = parseInitConfig({ SIDEGATE_UID: "0", SIDEGATE_DATAPLANE: "ebpf", SIDEGATE_INBOUND: "80,x,0,70000" });
  expect(result).toMatchObject({ kind: "problems" });
  expect(result.kind === "problems" && result.problems).toEqual([
    'SIDEGATE_UID: a uid from 1900000000 to 1999999999, not "0"',
    'SIDEGATE_DATAPLANE: auto, nft, iptables, not "ebpf"',
    'SIDEGATE_INBOUND: "x" is no port',
    'SIDEGATE_INBOUND: "0" is no port',
    'SIDEGATE_INBOUND: "70000" is no port',
  ]);
});

test.each(["", "-1", "1e9", "0x7fffffff", "1947264001 ", "2000000000", "1899999999"])("refuses the uid %j", (uid) => {
  expect(parseInitConfig({ ...GOOD, SIDEGATE_UID: uid })).toMatchObject({ kind: "problems" });
});

test("reads a mesh's uid and ports", () => {
  expect(parseInitConfig({ ...GOOD, SIDEGATE_MESH: "1337:15001,15006" })).toMatchObject({
    config: { mesh: { uid: 1337, ports: [15_001, 15_006] } },
  });
});

test.each([
  "1337",
  "1337:",
  ":15001",
  "0:15001",
  "1947264001:15001",
  "1337:0",
  "1337:70000",
  "1337:15801",
  "1337:1;2",
  "4294967295:1",
])("refuses the mesh %j", (mesh) => {
  expect(parseInitConfig({ ...GOOD, SIDEGATE_MESH: mesh })).toMatchObject({ kind: "problems" });
});
