/**
 * Rewrites a policy's WebAssembly module so that every evaluation ends: a counter goes down at each function entry and each
 * loop header, and reaching zero traps. Bounds work by count, not by clock: the same input always stops at the same step.
 *
 * Errs towards refusal: a section, import or instruction that OPA's compiler does not emit is an error, because an instruction
 * read wrongly could hide a loop. Bulk memory instructions are among the refused: one of them is one step, however long.
 * What is returned is validated once more by the engine when it compiles it.
 *
 * Format: WebAssembly Core Specification, binary format (module, section 5.5; instructions, section 5.4).
 */

/** How the counter is exported: a mutable i32 global. */
export const FUEL_EXPORT = "fuel";

export interface Metered {
  readonly wasm: Uint8Array<ArrayBuffer>;
  /** Pages (64 KiB) that the module wants from the start. */
  readonly memoryPages: number;
  readonly loops: number;
  readonly functions: number;
}

/** Not a module that OPA's compiler would emit. */
export class WasmError extends Error {
  readonly code = "bundle_wasm";
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
        out.globals(count + 1, wasm, body.at, body.end);
        break;
      }
      case SECTION.export: {
        const count = body.u32();
        const from = body.at;
        checkExports(body, count);
        out.exports(count + 1, wasm, from, body.end, fuelIndex);
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
      if (!skipInstruction(code)) continue;
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

/** Steps over one instruction and its immediates; true after a loop's header. */
function skipInstruction(code: Reader): boolean {
  const op = code.byte();
  switch (op) {
    case 0x00: // unreachable
    case 0x01: // nop
    case 0x05: // else
    case 0x0b: // end
    case 0x0f: // return
    case 0x1a: // drop
    case 0x1b: // select
      return false;
    case 0x02: // block bt
    case 0x04: // if bt
      code.leb(5);
      return false;
    case 0x03: // loop bt
      code.leb(5);
      return true;
    case 0x0c: // br l
    case 0x0d: // br_if l
    case 0x10: // call f
    case 0x20: // local.get, set, tee; global.get, set
    case 0x21:
    case 0x22:
    case 0x23:
    case 0x24:
    case 0x41: // i32.const
      code.leb(5);
      return false;
    case 0x42: // i64.const
      code.leb(10);
      return false;
    case 0x43: // f32.const
      code.skip(4);
      return false;
    case 0x44: // f64.const
      code.skip(8);
      return false;
    case 0x0e: // br_table vec(l) l
      for (let n = code.u32() + 1; n > 0; n--) code.leb(5);
      return false;
    case 0x11: // call_indirect type table
      code.leb(5);
      code.leb(5);
      return false;
    case 0x3f: // memory.size 0
    case 0x40: // memory.grow 0
      if (code.byte() !== 0) throw new WasmError("more than one memory");
      return false;
    case 0xfc: // i32/i64.trunc_sat_*: 0 to 7; what follows are the bulk instructions
      if (code.u32() > 7) throw new WasmError("a bulk memory instruction");
      return false;
    default:
      if (op >= 0x28 && op <= 0x3e) {
        // loads and stores: align, offset
        code.leb(5);
        code.leb(5);
        return false;
      }
      if (op >= 0x45 && op <= 0xc4) return false; // comparisons, arithmetic, conversions, sign extension
      throw new WasmError(`instruction 0x${op.toString(16)} is not one that OPA's compiler emits`);
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  at: number;
  readonly end: number;
  constructor(bytes: Uint8Array, at: number, end: number) {
    this.#bytes = bytes;
    this.at = at;
    this.end = end;
  }
  get done(): boolean {
    return this.at === this.end;
  }
  byte(): number {
    if (this.at >= this.end) throw new WasmError("ends too early");
    return this.#bytes[this.at++] ?? 0;
  }
  skip(count: number): void {
    if (count > this.end - this.at) throw new WasmError("ends too early");
    this.at += count;
  }
  slice(count: number): Reader {
    const from = this.at;
    this.skip(count);
    return new Reader(this.#bytes, from, this.at);
  }
  /** Steps over one LEB128 number, whatever its sign. */
  leb(maxBytes: number): void {
    for (let n = maxBytes; n > 0; n--) if (this.byte() < 0x80) return;
    throw new WasmError("a number is too long");
  }
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) {
        if (value > 0xffff_ffff) break;
        return value;
      }
    }
    throw new WasmError("a number is too long");
  }
  u32le(): number {
    return this.byte() + this.byte() * 0x100 + this.byte() * 0x1_0000 + this.byte() * 0x100_0000;
  }
  name(): string {
    const part = this.slice(this.u32());
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + part.at, part.end - part.at).toString("utf8");
  }
}

class Writer {
  #bytes: Uint8Array<ArrayBuffer>;
  #at = 0;
  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity);
  }
  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#at);
  }
  #room(count: number): void {
    if (this.#at + count <= this.#bytes.length) return;
    const larger = new Uint8Array(2 * this.#bytes.length + count);
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = larger;
  }
  byte(value: number): void {
    this.#room(1);
    this.#bytes[this.#at++] = value;
  }
  copy(from: Uint8Array, start: number, end: number): void {
    this.#room(end - start);
    // Most pieces are short: a loop costs less than a view.
    if (end - start > 64) {
      this.#bytes.set(from.subarray(start, end), this.#at);
      this.#at += end - start;
    } else for (let i = start; i < end; i++) this.#bytes[this.#at++] = from[i] ?? 0;
  }
  u32(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }
  /** A section or function body whose size is known only later: five bytes, a padded LEB128. */
  reserve(): number {
    this.#room(5);
    this.#at += 5;
    return this.#at;
  }
  open(id: number): number {
    this.byte(id);
    return this.reserve();
  }
  close(start: number): void {
    let size = this.#at - start;
    for (let i = 0; i < 5; i++) {
      this.#bytes[start - 5 + i] = i < 4 ? (size & 0x7f) | 0x80 : size;
      size >>>= 7;
    }
  }
  section(id: number, from: Uint8Array, start: number, end: number): void {
    const size = this.open(id);
    this.copy(from, start, end);
    this.close(size);
  }
  globals(count: number, from: Uint8Array, start: number, end: number): void {
    const size = this.open(SECTION.global);
    this.u32(count);
    this.copy(from, start, end);
    this.byte(0x7f); // i32
    this.byte(1); // mutable
    this.byte(0x41); // i32.const
    this.i32(START_FUEL);
    this.byte(0x0b); // end
    this.close(size);
  }
  exports(count: number, from: Uint8Array, start: number, end: number, fuelIndex: number): void {
    const size = this.open(SECTION.export);
    this.u32(count);
    this.copy(from, start, end);
    this.u32(FUEL_EXPORT.length);
    for (const letter of Buffer.from(FUEL_EXPORT)) this.byte(letter);
    this.byte(3); // a global
    this.u32(fuelIndex);
    this.close(size);
  }
  i32(value: number): void {
    let rest = value;
    while (rest < -0x40 || rest > 0x3f) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>= 7;
    }
    this.byte(rest & 0x7f);
  }
}
