/**
 * Steps over one WebAssembly instruction. Only what OPA's compiler emits: an unknown instruction's length is not known, and read
 * wrongly it could hide a loop. Bulk memory instructions are refused too: one of them is one step, however long.
 *
 * Format: WebAssembly Core Specification, section 5.4.
 */
import { type Reader, WasmError } from "./wasm-binary.ts";

/** Steps over one instruction and its immediates; true after a loop's header. `globals`: how many there are. */
export function skipInstruction(code: Reader, globals: number): boolean {
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
    case 0x20: // local.get, set, tee
    case 0x21:
    case 0x22:
    case 0x41: // i32.const
      code.leb(5);
      return false;
    case 0x23: // global.get, set
    case 0x24:
      if (code.u32() >= globals) throw new WasmError("a global that the module does not have");
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
