import * as fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { compileTexts, OPA_TIMEOUT_MS } from "../../test/support/policy-texts.ts";
import { FUEL_EXPORT, meter } from "./fuel.ts";
import { WasmError } from "./wasm-binary.ts";
import { engine } from "./wasm-engine.ts";

let wasm: Uint8Array;
beforeAll(async () => {
  wasm = (await compileTexts({ policies: { one: 'allow if input.action == "read"' } })).parts.wasm;
}, OPA_TIMEOUT_MS);

const text = (name: string): number[] => [name.length, ...Buffer.from(name)];
const section = (id: number, ...body: number[]): number[] => [id, body.length, ...body];

const HEAD = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const TYPE = section(1, 1, 0x60, 0, 0); // () -> ()
const IMPORT = section(2, 1, ...text("env"), ...text("memory"), 2, 0, 1);
const FUNCTION = section(3, 1, 0);
const GLOBAL = section(6, 1, 0x7f, 1, 0x41, 0, 0x0b);
const EXPORT = section(7, 1, ...text("run"), 0, 0);
const code = (...body: number[]): number[] => section(10, 1, body.length + 1, 0, ...body);

function moduleOf(
  parts: { imports?: number[]; globals?: number[]; exports?: number[]; code?: number[] } = {},
): Uint8Array {
  return Uint8Array.from([
    ...HEAD,
    ...TYPE,
    ...(parts.imports ?? IMPORT),
    ...FUNCTION,
    ...(parts.globals ?? GLOBAL),
    ...(parts.exports ?? EXPORT),
    ...(parts.code ?? code(0x0b)),
  ]);
}

function run(bytes: Uint8Array, fuel: number): { left: number; trapped: boolean } {
  const memory = new engine.Memory({ initial: 1, maximum: 1 });
  const { exports } = new engine.Instance(new engine.Module(meter(bytes).wasm), { env: { memory } });
  const x = exports as { run(): void; [FUEL_EXPORT]: { value: number } };
  x.fuel.value = fuel;
  try {
    x.run();
    return { left: x.fuel.value, trapped: false };
  } catch {
    return { left: x.fuel.value, trapped: true };
  }
}

test("E2: a loop without an end stops when its fuel is gone, by count", () => {
  const endless = moduleOf({ code: code(0x03, 0x40, 0x0c, 0, 0x0b, 0x0b) }); // loop br 0 end
  for (const fuel of [2, 1_000, 100_000]) expect(run(endless, fuel)).toEqual({ left: 0, trapped: true });
});

test("E2: a recursion without an end stops too", () => {
  const endless = moduleOf({ code: code(0x10, 0, 0x0b) }); // call 0
  expect(run(endless, 1_000)).toEqual({ left: 0, trapped: true });
});

test("E2: a module that refills the counter by its index is refused", () => {
  const refill = code(0x03, 0x40, 0x41, 0xff, 0xff, 0x03, 0x24, 1, 0x0c, 0, 0x0b, 0x0b); // loop i32.const global.set 1 br 0
  expect(() => meter(moduleOf({ code: refill }))).toThrow("a global that the module does not have");
});

test("one call costs one", () => {
  expect(run(moduleOf(), 100)).toEqual({ left: 99, trapped: false });
});

test("a module of OPA's is metered at every loop and function, and stays valid", () => {
  const metered = meter(wasm);
  expect(metered.loops).toBeGreaterThan(100);
  expect(metered.functions).toBeGreaterThan(500);
  expect(() => new engine.Module(metered.wasm)).not.toThrow();
});

test.each<[string, number[]]>([
  ["memory.fill", [0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 11, 0, 0x0b]],
  ["memory.copy", [0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 10, 0, 0, 0x0b]],
  ["a tail call", [0x12, 0, 0x0b]],
  ["a vector instruction", [0xfd, 12, ...Array.from({ length: 16 }, () => 0), 0x1a, 0x0b]],
  ["an atomic instruction", [0xfe, 3, 0, 0x0b]],
  ["an exception block", [0x06, 0x40, 0x0b, 0x0b]],
  ["a reference instruction", [0xd0, 0x70, 0x1a, 0x0b]],
])("refuses %s", (_what, body) => {
  expect(() => meter(moduleOf({ code: code(...body) }))).toThrow(WasmError);
});

test("refuses an import beyond OPA's interface", () => {
  for (const [from, name] of [
    ["env", "fetch"],
    ["wasi_snapshot_preview1", "fd_write"],
    ["fs", "memory"],
  ] as const) {
    const imports = section(2, 1, ...text(from), ...text(name), 0, 0);
    expect(() => meter(moduleOf({ imports })), name).toThrow(WasmError);
  }
});

test("refuses a shared or a second memory, and a counter of the module's own", () => {
  expect(() => meter(moduleOf({ imports: section(2, 1, ...text("env"), ...text("memory"), 2, 3, 1, 2) }))).toThrow(
    "memory",
  );
  const two = section(2, 2, ...text("env"), ...text("memory"), 2, 0, 1, ...text("env"), ...text("memory"), 2, 0, 1);
  expect(() => meter(moduleOf({ imports: two }))).toThrow(WasmError);
  expect(() => meter(moduleOf({ exports: section(7, 1, ...text(FUEL_EXPORT), 3, 0) }))).toThrow("exports fuel itself");
});

test("refuses sections that are repeated or out of order, in which a loop could hide", () => {
  expect(() => meter(Uint8Array.from([...moduleOf(), ...code(0x0b)]))).toThrow("out of order");
  expect(() => meter(Uint8Array.from([...HEAD, ...FUNCTION, ...TYPE]))).toThrow("out of order");
  expect(() => meter(Uint8Array.from([...HEAD, ...section(13)]))).toThrow("unknown");
});

function isModule(bytes: Uint8Array): boolean {
  try {
    void new engine.Module(Uint8Array.from(bytes));
    return true;
  } catch {
    return false;
  }
}

test("a module cut anywhere is refused or invalid, never metered by half", () => {
  fc.assert(
    fc.property(fc.nat(wasm.length - 1), (length) => {
      const cut = wasm.subarray(0, length);
      try {
        run(cut, 1);
        // Between two sections: what is left is a module by itself.
        return isModule(cut);
      } catch (fault) {
        return fault instanceof WasmError || (fault as Error).name === "CompileError";
      }
    }),
    { numRuns: 60 },
  );
});

test("a changed byte gives a valid module or a refusal, nothing else", () => {
  fc.assert(
    fc.property(fc.nat(wasm.length - 1), fc.nat(255), (at, byte) => {
      const changed = Uint8Array.from(wasm);
      changed[at] = byte;
      try {
        meter(changed);
        return true;
      } catch (fault) {
        return fault instanceof WasmError;
      }
    }),
    { numRuns: 100 },
  );
});
