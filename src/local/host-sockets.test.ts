import { expect, test } from "vitest";
import { listeningSockets } from "./host-sockets.ts";

// Lines of a real /proc/net/unix.
const TEXT = `Num       RefCount Protocol Flags    Type St Inode Path
00000000c2cf4fad: 00000002 00000000 00010000 0001 01 76650 /run/docker.sock
00000000156d7322: 00000002 00000000 00000000 0002 01 76651 /run/systemd/journal/dev-log
00000000aaa6fc91: 00000002 00000000 00010000 0001 01 76652 relative.sock
00000000aaa6fc92: 00000002 00000000 00010000 0001 01 76653 @/tmp/.X11-unix/X0
00000000aaa6fc93: 00000003 00000000 00000000 0001 03 76654 /run/docker.sock
00000000aaa6fc94: 00000003 00000000 00000000 0001 03 76655
00000000aaa6fc95: 00000002 00000000 00010000 0005 01   55 /home/ann/a folder/with spaces.sock
00000000aaa6fc96: 00000003 00000000 00000000 0001 03 76656 /only/connected
`;

test("finds what takes connections or messages by an absolute path, once each", () => {
  expect(listeningSockets(TEXT)).toEqual([
    "/run/docker.sock",
    "/run/systemd/journal/dev-log",
    "/home/ann/a folder/with spaces.sock",
  ]);
});

test("is bounded, and takes no harm from what is no such list", () => {
  const many = Array.from({ length: 10_000 }, (_, i) => `0: 2 0 00010000 0001 01 ${i} /s/${i}`);
  expect(listeningSockets(["head", ...many].join("\n"))).toHaveLength(4096);
  expect(listeningSockets("")).toEqual([]);
  expect(listeningSockets("garbage\n\u0000\u0001 /x\n")).toEqual([]);
});
