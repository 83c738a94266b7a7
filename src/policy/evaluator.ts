/**
 * Runs one metered policy module: operation in, OPA's result text out.
 *
 * Bounded three ways: input bytes, memory pages, fuel. After any trap the instance is thrown away: a trap leaves the module's
 * stack pointer and free lists where they were, and a hundred traps later nothing would work. The next evaluation gets a fresh one.
 * Interface: OPA WASM ABI 1.2 and later (`opa_eval`), openpolicyagent.org/docs/wasm.
 */
import { FUEL_EXPORT, meter } from "./fuel.ts";
import { ENTRYPOINT } from "./manifest.ts";
import { WasmError } from "./wasm-binary.ts";
import { engine, type WasmMemory, type WasmModule } from "./wasm-engine.ts";

export interface EvaluatorLimits {
  /** UTF-16 units of one operation. */
  readonly maxInputChars: number;
  /** 64 KiB each; data, input and everything made while evaluating lie in them. */
  readonly maxPages: number;
  /** Function entries and loop rounds of one decision: about 2 ns each. */
  readonly fuel: number;
  /** And for each character of the operation, which has to be read first. */
  readonly fuelPerChar: number;
}

export const EVALUATOR_LIMITS: EvaluatorLimits = {
  maxInputChars: 256 * 1024,
  maxPages: 512,
  fuel: 1_000_000,
  fuelPerChar: 8,
};

export type Evaluation =
  | { readonly kind: "result"; readonly text: string }
  | {
      readonly kind: "fault";
      readonly code: "policy_out_of_fuel" | "policy_error" | "input_too_large";
      readonly why: string;
    };

export interface Evaluator {
  /** `members`: the JSON members of `input`, without braces. */
  evaluate(members: string): Evaluation;
  /** Fuel that the last evaluation took. */
  readonly fuelUsed: number;
}

/** Data is read once, at load: no limit but memory's. */
const LOAD_FUEL = 0x7fff_ffff;
/** An instance that grew beyond what it had after loading plus this is replaced when its decision is made: memory never shrinks. */
const SPARE_BYTES = 4 * 1024 * 1024;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

interface Exports {
  readonly [FUEL_EXPORT]: { value: number };
  opa_malloc(size: number): number;
  opa_json_parse(address: number, length: number): number;
  opa_json_dump(value: number): number;
  opa_heap_ptr_get(): number;
  builtins(): number;
  entrypoints(): number;
  opa_eval(
    reserved: number,
    entrypoint: number,
    data: number,
    input: number,
    length: number,
    heap: number,
    format: number,
  ): number;
}

/** What OPA's runtime says with `opa_abort`, or asks of a built-in that nobody supplies. */
class PolicyAbort extends Error {}

class Instance {
  readonly exports: Exports;
  readonly memory: WasmMemory;
  #bytes: Buffer;
  readonly #entrypoint: number;
  readonly #data: number;
  readonly #base: number;
  readonly loadedBytes: number;

  constructor(module: WasmModule, pages: number, data: string, limits: EvaluatorLimits) {
    this.memory = new engine.Memory({ initial: pages, maximum: Math.max(pages, limits.maxPages) });
    const missing = (): never => {
      throw new PolicyAbort("a built-in that this gateway does not supply");
    };
    const env = {
      memory: this.memory,
      opa_abort: (address: number) => {
        throw new PolicyAbort(this.#textAt(address));
      },
      opa_println: () => {},
      opa_builtin0: missing,
      opa_builtin1: missing,
      opa_builtin2: missing,
      opa_builtin3: missing,
      opa_builtin4: missing,
    };
    this.#bytes = Buffer.from(this.memory.buffer);
    this.exports = new engine.Instance(module, { env }).exports as unknown as Exports;
    const x = this.exports;
    x.fuel.value = LOAD_FUEL;
    this.#bytes = Buffer.from(this.memory.buffer);
    const needed = Object.keys(this.#json(x.builtins()));
    if (needed.length > 0)
      throw new WasmError(`the policy needs built-ins that are not supplied: ${needed.join(", ")}`);
    const entrypoint = this.#json(x.entrypoints())[ENTRYPOINT];
    if (typeof entrypoint !== "number") throw new WasmError(`the module has no entrypoint ${ENTRYPOINT}`);
    this.#entrypoint = entrypoint;
    const size = Buffer.byteLength(data);
    const at = x.opa_malloc(size);
    this.#bytes = Buffer.from(this.memory.buffer);
    this.#bytes.write(data, at, size, "utf8");
    this.#data = x.opa_json_parse(at, size);
    if (this.#data === 0) throw new WasmError("the module cannot read its data");
    this.#base = (x.opa_heap_ptr_get() + 7) & ~7;
    this.#bytes = Buffer.from(this.memory.buffer);
    this.loadedBytes = this.#bytes.length;
  }

  /** Throws whatever the module traps with. */
  run(members: string, fuel: number): string {
    const need = this.#base + members.length * 3 + 2;
    if (this.#bytes.length === 0 || need > this.#bytes.length) this.#room(need);
    const bytes = this.#bytes;
    bytes[this.#base] = OPEN_BRACE;
    const length = bytes.write(members, this.#base + 1, "utf8") + 2;
    bytes[this.#base + length - 1] = CLOSE_BRACE;
    const x = this.exports;
    x.fuel.value = fuel;
    const heap = (this.#base + length + 7) & ~7;
    const result = x.opa_eval(0, this.#entrypoint, this.#data, this.#base, length, heap, 0);
    // Growing detaches the buffer that we held.
    if (this.#bytes.length === 0) this.#bytes = Buffer.from(this.memory.buffer);
    return this.#textAt(result);
  }

  #room(need: number): void {
    const pages = Math.ceil((need - this.memory.buffer.byteLength) / 65_536);
    if (pages > 0) this.memory.grow(pages);
    this.#bytes = Buffer.from(this.memory.buffer);
  }

  #json(value: number): Record<string, unknown> {
    return JSON.parse(this.#textAt(this.exports.opa_json_dump(value))) as Record<string, unknown>;
  }

  #textAt(address: number): string {
    const bytes = this.#bytes.length === 0 ? Buffer.from(this.memory.buffer) : this.#bytes;
    const end = bytes.indexOf(0, address);
    return bytes.toString("utf8", address, end === -1 ? address : end);
  }
}

/**
 * Compiles and loads. `data`: the `data` document as JSON text. Throws WasmError where the module is not one of OPA's, needs what
 * we do not supply, or its data does not fit.
 */
export function createEvaluator(wasm: Uint8Array, data: string, limits: EvaluatorLimits = EVALUATOR_LIMITS): Evaluator {
  const metered = meter(wasm);
  if (metered.memoryPages > limits.maxPages)
    throw new WasmError(`the module wants ${metered.memoryPages} pages of memory`);
  let module: WasmModule;
  let instance: Instance | null;
  try {
    module = new engine.Module(metered.wasm);
    instance = new Instance(module, metered.memoryPages, data, limits);
  } catch (fault) {
    if (fault instanceof WasmError) throw fault;
    throw new WasmError(`the module cannot be loaded with its data: ${String(fault)}`);
  }
  let fuelUsed = 0;

  function evaluate(members: string): Evaluation {
    if (members.length > limits.maxInputChars)
      return { kind: "fault", code: "input_too_large", why: `over ${limits.maxInputChars} characters` };
    const fuel = limits.fuel + limits.fuelPerChar * members.length;
    let left = fuel;
    try {
      instance ??= new Instance(module, metered.memoryPages, data, limits);
      const text = instance.run(members, fuel);
      left = instance.exports.fuel.value;
      if (instance.memory.buffer.byteLength > instance.loadedBytes + SPARE_BYTES) instance = null;
      return { kind: "result", text };
    } catch (fault) {
      left = instance === null ? 0 : instance.exports.fuel.value;
      instance = null;
      if (left <= 0) return { kind: "fault", code: "policy_out_of_fuel", why: `over ${fuel} steps` };
      return { kind: "fault", code: "policy_error", why: String(fault) };
    } finally {
      fuelUsed = fuel - left;
    }
  }

  return {
    evaluate,
    get fuelUsed() {
      return fuelUsed;
    },
  };
}
