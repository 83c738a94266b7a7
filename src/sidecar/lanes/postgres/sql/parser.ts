/**
 * PostgreSQL's own parser (libpg_query 18, the WASM file of the npm package `libpg-query`), hosted without its Emscripten glue: the glue
 * wants `__dirname`, a file system and an asynchronous start, prints to the console, and keeps on using an instance after it aborted.
 *
 * Fails towards "not parsed": a trap, an exhausted stack or too much memory gives a fault for that text, and the instance is thrown
 * away, because its memory can no longer be trusted. Import and export names belong to exactly one build of the file, so any other
 * build is refused by its digest.
 */
import { createHash } from "node:crypto";

/** SHA-256 of `wasm/libpg-query.wasm` in libpg-query 18.1.5. */
export const PARSER_SHA256 = "378b64e6182f65c71ad5dbd2c31c81e9dfed7d2f2debfb4b51c0d0de8fa2ae36";

/** The module starts with 128 MiB of address space, of which it touches 2 to 30; more than this and the instance is dropped. */
const MAX_MEMORY_BYTES = 192 * 1024 * 1024;
const PAGE_BYTES = 65_536;

export type Parsed =
  | { readonly ok: true; readonly json: string }
  /** `syntax`: PostgreSQL says no, at this byte of the text (0 where it does not say). */
  | { readonly ok: false; readonly kind: "syntax"; readonly message: string; readonly at: number }
  /** `fault`: the parser itself gave up (stack, memory, an assertion). */
  | { readonly ok: false; readonly kind: "fault"; readonly message: string };

export interface Parser {
  /** `bytes` is UTF-8 without NUL (a NUL would end the text early: throws). */
  parse(bytes: Uint8Array): Parsed;
}

/** The engine, as far as it is used: the compiler's `lib` knows it only for browsers. */
interface Memory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}
interface Engine {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Readonly<Record<string, never>> };
}
const engine = (globalThis as unknown as { readonly WebAssembly: Engine }).WebAssembly;

interface Exports {
  readonly memory: Memory;
  readonly table: { get(index: number): (...args: readonly number[]) => unknown };
  readonly construct: () => void;
  readonly malloc: (size: number) => number;
  readonly free: (pointer: number) => void;
  readonly parse: (text: number) => number;
  readonly freeResult: (result: number) => void;
  readonly setThrew: (threw: number, value: number) => void;
  readonly restoreStack: (pointer: number) => void;
  readonly stackPointer: () => number;
}

/** Our names for what the build exports under one letter. */
const EXPORTED: Readonly<Record<keyof Exports, string>> = {
  memory: "z",
  table: "D",
  construct: "A",
  malloc: "C",
  free: "E",
  parse: "F", // wasm_parse_query_raw
  freeResult: "G", // wasm_free_parse_result
  setThrew: "P",
  restoreStack: "Q",
  stackPointer: "R",
};

/** What C's longjmp throws; PostgreSQL reports each syntax error this way. */
class LongJump extends Error {}

class ParserAbort extends Error {}

function exportsOf(raw: Readonly<Record<string, never>>): Exports {
  return Object.fromEntries(
    Object.entries(EXPORTED).map(([ours, theirs]) => [ours, raw[theirs]]),
  ) as unknown as Exports;
}

/** Functions called through a table so that a longjmp out of them can be caught: `invoke_*` of Emscripten. */
const INVOKE = ["a", "b", "d", "e", "f", "g", "h", "i", "j", "k", "n", "y"] as const;

function instantiate(module: object): Exports {
  let exported: Exports | undefined;
  const here = (): Exports => {
    if (exported === undefined) throw new ParserAbort("called before it was ready");
    return exported;
  };
  const invoke = (index: number, ...args: number[]): unknown => {
    const { table, stackPointer, restoreStack, setThrew } = here();
    const stack = stackPointer();
    try {
      return table.get(index)(...args);
    } catch (cause) {
      if (!(cause instanceof LongJump)) throw cause;
      restoreStack(stack);
      setThrew(1, 0);
      return undefined;
    }
  };
  const abort = (): never => {
    throw new ParserAbort("aborted");
  };
  const imports: Record<string, (...args: number[]) => unknown> = {
    c: abort, // __assert_fail
    x: abort, // abort
    m: abort, // exit
    v: abort, // proc_exit
    p: () => {
      throw new LongJump("longjmp");
    },
    q: (wanted) => grow(here().memory, (wanted ?? 0) >>> 0),
    l: (index, a) => invoke(index ?? 0, a ?? 0) ?? 0n, // invoke_ji
    w: () => undefined, // runtime_keepalive_clear
    o: () => 0, // setitimer
    r: () => 8, // fd_read: EBADF. There is no file.
    s: () => 8,
    u: () => 8,
    t: () => 8, // fd_write: warnings of the lexer, nobody reads them
  };
  for (const name of INVOKE) imports[name] = invoke;
  exported = exportsOf(new engine.Instance(module, { a: imports }).exports);
  exported.construct();
  return exported;
}

function grow(memory: Memory, wanted: number): number {
  if (wanted > MAX_MEMORY_BYTES) return 0;
  memory.grow(Math.ceil((wanted - memory.buffer.byteLength) / PAGE_BYTES));
  return 1;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textAt(heap: Uint8Array, pointer: number): string {
  return pointer === 0 ? "" : utf8.decode(heap.subarray(pointer, heap.indexOf(0, pointer)));
}

/**
 * Compiles the file (20 to 40 ms, once a process). Throws where it is not the build that this host was written for.
 * Layout of a result: { char *tree; char *stderr; Error *error }, of an error: { char *message; char *function; char *file; int line; int cursor }.
 */
export function createParser(file: Uint8Array): Parser {
  const digest = createHash("sha256").update(file).digest("hex");
  if (digest !== PARSER_SHA256) throw new Error(`not the expected build of libpg-query.wasm: sha256 ${digest}`);
  const module = new engine.Module(file);
  let live: Exports | undefined;

  const run = (at: Exports, bytes: Uint8Array): Parsed => {
    const text = at.malloc(bytes.length + 1);
    if (text === 0) throw new ParserAbort("out of memory");
    const before = new Uint8Array(at.memory.buffer);
    before.set(bytes, text);
    before[text + bytes.length] = 0;
    const result = at.parse(text);
    if (result === 0) throw new ParserAbort("out of memory");
    const heap = new Uint8Array(at.memory.buffer); // it may have grown
    const words = new DataView(at.memory.buffer);
    const failed = words.getUint32(result + 8, true);
    const parsed: Parsed =
      failed === 0
        ? { ok: true, json: textAt(heap, words.getUint32(result, true)) }
        : {
            ok: false,
            kind: "syntax",
            message: textAt(heap, words.getUint32(failed, true)),
            at: Math.max(0, words.getInt32(failed + 16, true) - 1),
          };
    at.free(text);
    at.freeResult(result);
    return parsed;
  };

  return {
    parse(bytes) {
      if (bytes.includes(0)) throw new TypeError("NUL in a text to parse");
      try {
        live ??= instantiate(module);
        return run(live, bytes);
      } catch (cause) {
        live = undefined;
        return { ok: false, kind: "fault", message: cause instanceof Error ? cause.message : "fault" };
      }
    },
  };
}
