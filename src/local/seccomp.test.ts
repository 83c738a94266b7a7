/** The filter is run here by the kernel's rules for classic BPF; test/bypass tries it on the kernel itself. */
import { expect, test } from "vitest";
import { seccompFilter } from "./seccomp.ts";

const ALLOW = 0x7fff_0000;
const refused = (errno: number): number => 0x0005_0000 | errno;
const [EPERM, ENOSYS, EAFNOSUPPORT] = [1, 38, 97];
const AUDIT = { x64: 0xc000_003e, arm64: 0xc000_00b7 } as const;
const SOCKET = { x64: 41, arm64: 198 } as const;
const IOCTL = { x64: 16, arm64: 29 } as const;

/** Runs the filter over struct seccomp_data. */
function judge(filter: Buffer, number: number, arch: number, args: readonly bigint[]): number {
  const data = Buffer.alloc(64);
  data.writeInt32LE(number | 0, 0);
  data.writeUInt32LE(arch, 4);
  for (const [i, arg] of args.entries()) data.writeBigUInt64LE(arg, 16 + i * 8);
  let accumulator = 0;
  for (let pc = 0; pc < filter.length / 8; pc++) {
    const at = pc * 8;
    const [code, yes, no, k] = [
      filter.readUInt16LE(at),
      filter[at + 2] ?? 0,
      filter[at + 3] ?? 0,
      filter.readUInt32LE(at + 4),
    ];
    if (code === 0x20) accumulator = data.readUInt32LE(k);
    else if (code === 0x15) pc += accumulator === k ? yes : no;
    else if (code === 0x35) pc += accumulator >= k ? yes : no;
    else if (code === 0x06) return k;
    else throw new Error(`instruction ${code}`);
  }
  throw new Error("fell off the end");
}

const filterOf = (arch: NodeJS.Architecture): Buffer => {
  const filter = seccompFilter(arch);
  if (filter === null) throw new Error("no filter");
  return filter;
};

test.each(["x64", "arm64"] as const)("%s: only the families of a network namespace can be made", (arch) => {
  const filter = filterOf(arch);
  for (let family = 0; family < 64; family++) {
    const expected = [1, 2, 10, 16].includes(family) ? ALLOW : refused(EAFNOSUPPORT);
    expect([family, judge(filter, SOCKET[arch], AUDIT[arch], [BigInt(family)])]).toEqual([family, expected]);
  }
});

test.each(["x64", "arm64"] as const)("%s: bits above an int do not hide a family or a request", (arch) => {
  const filter = filterOf(arch);
  const high = 1n << 32n;
  expect(judge(filter, SOCKET[arch], AUDIT[arch], [40n | high])).toBe(refused(EAFNOSUPPORT));
  expect(judge(filter, IOCTL[arch], AUDIT[arch], [0n, 0x5412n | high])).toBe(refused(EPERM));
});

test.each(["x64", "arm64"] as const)(
  "%s: nothing can be typed into the terminal, everything else of it works",
  (arch) => {
    const filter = filterOf(arch);
    for (const request of [0x5412n, 0x541cn])
      expect(judge(filter, IOCTL[arch], AUDIT[arch], [0n, request])).toBe(refused(EPERM));
    for (const request of [0x5401n, 0x5413n, 0x5414n, 0x540fn, 0x541bn])
      expect(judge(filter, IOCTL[arch], AUDIT[arch], [0n, request])).toBe(ALLOW);
  },
);

test.each(["x64", "arm64"] as const)("%s: io_uring is absent", (arch) => {
  for (const number of [425, 426, 427]) expect(judge(filterOf(arch), number, AUDIT[arch], [])).toBe(refused(ENOSYS));
});

test("another architecture's calls, and x32's, are absent whatever their number", () => {
  const filter = filterOf("x64");
  for (const number of [0, 41, 59, 102, 359]) expect(judge(filter, number, 0x4000_0003, [])).toBe(refused(ENOSYS));
  for (const number of [0x4000_0000, 0x4000_0029, 0x4000_0221])
    expect(judge(filter, number, AUDIT.x64, [])).toBe(refused(ENOSYS));
});

test("what programs live on is allowed", () => {
  const filter = filterOf("x64");
  // read, write, mmap, clone, execve, kill, ptrace, unshare, mount, openat, clone3
  for (const number of [0, 1, 9, 56, 59, 62, 101, 272, 165, 257, 435])
    expect([number, judge(filter, number, AUDIT.x64, [])]).toEqual([number, ALLOW]);
});

test("an architecture whose numbers we do not know has no filter", () => {
  expect(seccompFilter("s390x")).toBeNull();
});
