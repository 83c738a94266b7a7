/**
 * Rewrites a policy's WebAssembly module so that every evaluation ends: a counter goes down at each function entry and each
 * loop header, and reaching zero traps. Bounds work by count, not by clock: the same input always stops at the same step.
 *
 * Errs towards refusal: a section, import or instruction that OPA's compiler does not emit is an error, because an instruction
 * read wrongly could hide a loop (wasm-instruction.ts), and one that touches the counter could refill it.
 * What is returned is validated once more by the engine when it compiles it.
 *
 * Format: WebAssembly Core Specification, binary format (module, section 5.5; instructions, section 5.4).
 */
import { Reader, WasmError, Writer } from "./wasm-binary.ts";
import { skipInstruction } from "./wasm-instruction.ts";

/** How the counter is exported: a mutable i32 global. */
export const FUEL_EXPORT = "fuel";

export interface Metered {
  readonly wasm: Uint8Array<ArrayBuffer>;
  /** Pages (64 KiB) that the module wants from the start. */
  readonly memoryPages: number;
  readonly loops: number;
  readonly functions: number;
}

const IMPORTS = new Set([
  "opa_builtin0",
  "opa_builtin1",
  "opa_builtin2",
  "opa_builtin3",
  "opa_builtin4",
  "opa_abort",
  "opa_println",
]);

/** Fuel for the module's start function, before anybody has set a limit. */
const START_FUEL = 50_000_000;

const SECTION = { custom: 0, import: 2, function: 3, memory: 5, global: 6, export: 7, code: 10, last: 12 } as const;
// The order in which sections may stand; `data count` (12) stands before the code.
const ORDER = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11];

const I32 = 0x7f;
const MUTABLE = 1;
const I32_CONST = 0x41;
const END = 0x0b;
const GLOBAL_EXPORT = 3;

/** Throws WasmError. `wasm` is not changed. Names and other custom sections are left out. */
export function meter(wasm: Uint8Array): Metered {
  const input = new Reader(wasm, 0, wasm.length);
  if (input.u32le() !== 0x6d736100 || input.u32le() !== 1) throw new WasmError("not a WebAssembly module of version 1");
  // A policy of OPA's grows by about a tenth.
  const out = new Writer(wasm.length + (wasm.length >>> 2) + 1_024);
  out.copy(wasm, 0, 8);

  let rank = -1;
  let memoryPages = -1;
  let fuelIndex = -1;
  let counted = { loops: 0, functions: 0 };
  while (!input.done) {
    const id = input.byte();
    const body = input.slice(input.u32());
    if (id === SECTION.custom) continue;
    const place = ORDER.indexOf(id);
    if (place <= rank) throw new WasmError(`section ${id} is unknown, repeated or out of order`);
    // The counter is appended to the globals, so that no index changes; OPA's modules always have the section.
    if (place > ORDER.indexOf(SECTION.global) && fuelIndex < 0) throw new WasmError("no global section");
    rank = place;
    switch (id) {
      case SECTION.import:
        out.section(id, wasm, body.at, body.end);
        memoryPages = readImports(body);
        break;
      case SECTION.memory:
        throw new WasmError("the module brings its own memory");
      case SECTION.global: {
        const count = body.u32();
        fuelIndex = count; // no globals are imported
        const size = out.open(id);
        out.u32(count + 1);
        out.copy(wasm, body.at, body.end);
        for (const byte of [I32, MUTABLE, I32_CONST]) out.byte(byte);
        out.i32(START_FUEL);
        out.byte(END);
        out.close(size);
        break;
      }
      case SECTION.export: {
        const count = body.u32();
        const from = body.at;
        checkExports(body, count);
        const size = out.open(id);
        out.u32(count + 1);
        out.copy(wasm, from, body.end);
        out.name(FUEL_EXPORT);
        out.byte(GLOBAL_EXPORT);
        out.u32(fuelIndex);
        out.close(size);
        break;
      }
      case SECTION.code:
        counted = meterCode(wasm, body, out, fuelIndex);
        break;
      default:
        out.section(id, wasm, body.at, body.end);
    }
  }
  if (memoryPages < 0) throw new WasmError("the module does not import a memory");
  if (counted.functions === 0) throw new WasmError("the module has no code");
  return { wasm: out.bytes(), memoryPages, ...counted };
}

/** vec(import): module name, name, kind, type. Only what OPA's runtime interface names; returns the memory's minimum. */
function readImports(body: Reader): number {
  let pages = -1;
  for (let n = body.u32(); n > 0; n--) {
    const module = body.name();
    const name = body.name();
    const kind = body.byte();
    if (module !== "env") throw new WasmError(`import from ${module}`);
    if (kind === 0 && IMPORTS.has(name)) body.u32();
    else if (kind === 2 && name === "memory" && pages < 0) {
      const flags = body.byte();
      if (flags > 1) throw new WasmError("shared or 64-bit memory");
      pages = body.u32();
      if (flags === 1) body.u32();
    } else throw new WasmError(`import ${name} is not in OPA's interface`);
  }
  return pages;
}

function checkExports(body: Reader, count: number): void {
  for (let n = count; n > 0; n--) {
    if (body.name() === FUEL_EXPORT) throw new WasmError(`the module exports ${FUEL_EXPORT} itself`);
    body.byte();
    body.u32();
  }
}

function meterCode(
  wasm: Uint8Array,
  body: Reader,
  out: Writer,
  fuelIndex: number,
): { loops: number; functions: number } {
  const check = fuelCheck(fuelIndex);
  const section = out.open(SECTION.code);
  const functions = body.u32();
  out.u32(functions);
  let loops = 0;
  for (let n = functions; n > 0; n--) {
    const code = body.slice(body.u32());
    const size = out.reserve();
    let from = code.at;
    for (let groups = code.u32(); groups > 0; groups--) {
      code.u32();
      code.byte();
    }
    out.copy(wasm, from, code.at);
    out.copy(check, 0, check.length);
    from = code.at;
    while (!code.done) {
      if (!skipInstruction(code, fuelIndex)) continue;
      loops++;
      out.copy(wasm, from, code.at);
      out.copy(check, 0, check.length);
      from = code.at;
    }
    out.copy(wasm, from, code.end);
    out.close(size);
  }
  out.close(section);
  return { loops, functions };
}

/** fuel = fuel - 1; if (fuel == 0) unreachable. */
function fuelCheck(fuelIndex: number): Uint8Array {
  const fuel = new Writer(8);
  fuel.u32(fuelIndex);
  const index = fuel.bytes();
  const get = [0x23, ...index]; // global.get
  const set = [0x24, ...index]; // global.set
  // i32.const 1, i32.sub; i32.eqz, if, unreachable, end
  return Uint8Array.from([...get, 0x41, 1, 0x6b, ...set, ...get, 0x45, 0x04, 0x40, 0x00, 0x0b]);
}
