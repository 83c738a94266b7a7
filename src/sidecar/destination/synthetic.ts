/**
 * One name, one address: each allowed name gets an address of its own out of a reserved range, so that the address of a
 * connection says exactly which name was meant, whatever CDN the name lives on (THREATS N9).
 *
 * An address is never given to another name: it is on file before it is answered, and nothing is ever forgotten. Fails closed:
 * full, or not writable, means no address; a file that cannot be read whole is a fault, for guessing could give an address twice.
 */
import { type Address, type Cidr, contains, formatCidr, parseCidr } from "#core/cidr.ts";

/** Where names are kept over a restart. Lines end with \n; append is whole or not at all. */
export interface NameStore {
  /** All that was appended so far; "" at first. */
  load(): string;
  /** False: not written, and nothing of it is on file. */
  append(lines: string): boolean;
}

export interface SyntheticOptions {
  /** At most /24 long; every address but the first and the last is given out. */
  readonly v4: string;
  /** At most /96 long. */
  readonly v6: string;
  readonly store: NameStore;
  /** Names in all, at most what the IPv4 range holds. */
  readonly maxNames?: number;
  /** Names that one target's wildcards may take; all wildcards together: half of `maxNames`. */
  readonly maxPerWildcardTarget?: number;
}

export interface SyntheticName {
  readonly name: string;
  readonly v4: Uint8Array;
  readonly v6: Uint8Array;
}

export class SyntheticStateFault extends Error {
  readonly code = "synthetic_state_invalid";
}

const MAX_NAMES = 16_384;
const MAX_PER_WILDCARD_TARGET = 256;
const NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const LINE = /^([1-9][0-9]{0,6}) ([a-z0-9.-]{1,253}) ([a-z0-9.-]{1,253})$/;
/** Stands where a name is a target's exact host: no target's name, since those begin with a letter or digit. */
const EXACT = "-";
/** As a wildcard's target: names that nobody lists, under observation. They share one bound with all wildcards. */
export const OBSERVED = "--";

export class SyntheticNames {
  readonly #v4: Cidr;
  readonly #v6: Cidr;
  readonly #store: NameStore;
  readonly #maxNames: number;
  readonly #maxPerTarget: number;
  readonly #byName = new Map<string, SyntheticName>();
  /** Index in the ranges; 0 is never given out. */
  readonly #byIndex: (SyntheticName | undefined)[] = [undefined];
  readonly #wildcards = new Map<string, number>();
  #wildcardNames = 0;

  /** Throws SyntheticStateFault when what is stored cannot be read whole, or belongs to other ranges. */
  constructor(options: SyntheticOptions) {
    const v4 = parseCidr(options.v4);
    const v6 = parseCidr(options.v6);
    if (v4?.family !== 4 || v4.prefix > 24) throw new RangeError(`not an IPv4 range of /24 or more: ${options.v4}`);
    if (v6?.family !== 6 || v6.prefix > 96) throw new RangeError(`not an IPv6 range of /96 or more: ${options.v6}`);
    this.#v4 = v4;
    this.#v6 = v6;
    this.#store = options.store;
    this.#maxNames = Math.min(options.maxNames ?? MAX_NAMES, 2 ** (32 - v4.prefix) - 2);
    this.#maxPerTarget = options.maxPerWildcardTarget ?? MAX_PER_WILDCARD_TARGET;
    this.#load();
  }

  get size(): number {
    return this.#byName.size;
  }

  /** Both ranges, for whoever must refuse to dial them. */
  get ranges(): readonly Cidr[] {
    return [this.#v4, this.#v6];
  }

  /** The addresses of a name, given out now if it has none yet. `wildcard`: the target whose wildcard matched. Null: none left. */
  give(name: string, wildcard: string | null): SyntheticName | null {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    if (!NAME.test(name) || this.#byName.size >= this.#maxNames) return null;
    if (wildcard !== null) {
      if (wildcard !== OBSERVED && (this.#wildcards.get(wildcard) ?? 0) >= this.#maxPerTarget) return null;
      if (this.#wildcardNames >= this.#maxNames >> 1) return null;
    }
    const index = this.#byIndex.length;
    if (!this.#store.append(`${index} ${name} ${wildcard ?? EXACT}\n`)) return null;
    return this.#add(name, wildcard);
  }

  /** undefined: not of our ranges. null: of our ranges, but nobody's. */
  nameAt(address: Address): string | null | undefined {
    if (address.family === 4) {
      if (!contains(this.#v4, address)) return undefined;
      return this.#byIndex[low32(address.bytes) - low32(this.#v4.bytes)]?.name ?? null;
    }
    if (!contains(this.#v6, address)) return undefined;
    for (let i = this.#v6.prefix >> 3; i < 12; i++) if (address.bytes[i] !== this.#v6.bytes[i]) return null;
    return this.#byIndex[low32(address.bytes) - low32(this.#v6.bytes)]?.name ?? null;
  }

  #add(name: string, wildcard: string | null): SyntheticName {
    const index = this.#byIndex.length;
    const given = { name, v4: plus(this.#v4.bytes, index), v6: plus(this.#v6.bytes, index) };
    this.#byIndex.push(given);
    this.#byName.set(name, given);
    if (wildcard !== null) {
      this.#wildcards.set(wildcard, (this.#wildcards.get(wildcard) ?? 0) + 1);
      this.#wildcardNames++;
    }
    return given;
  }

  #load(): void {
    const header = `sidegate-names 1 ${formatCidr(this.#v4)} ${formatCidr(this.#v6)}`;
    const text = this.#store.load();
    if (text === "") {
      if (!this.#store.append(`${header}\n`)) throw new SyntheticStateFault("the names' file cannot be written");
      return;
    }
    const lines = text.split("\n");
    // What stands behind the last line's end was never answered to anybody; the store has cut it off.
    if (lines.pop() !== "") throw new SyntheticStateFault("the names' file ends in the middle of a line");
    if (lines[0] !== header) throw new SyntheticStateFault(`the names' file is not of these ranges: ${header}`);
    for (let i = 1; i < lines.length; i++) {
      const [, index, name, wildcard] = LINE.exec(lines[i] ?? "") ?? [];
      if (index === undefined || name === undefined || wildcard === undefined || Number(index) !== i)
        throw new SyntheticStateFault(`line ${i + 1} of the names' file is malformed`);
      if (!NAME.test(name) || this.#byName.has(name))
        throw new SyntheticStateFault(`line ${i + 1} of the names' file repeats a name`);
      if (i > 2 ** (32 - this.#v4.prefix) - 2) throw new SyntheticStateFault("the names' file holds too many names");
      this.#add(name, wildcard === EXACT ? null : wildcard);
    }
  }
}

function low32(bytes: Uint8Array): number {
  const n = bytes.length;
  return (
    (bytes[n - 4] ?? 0) * 0x100_0000 + ((bytes[n - 3] ?? 0) << 16) + ((bytes[n - 2] ?? 0) << 8) + (bytes[n - 1] ?? 0)
  );
}

/** `index` is smaller than the range, so no carry leaves the low 32 bits. */
function plus(base: Uint8Array, index: number): Uint8Array {
  const bytes = base.slice();
  const value = low32(base) + index;
  for (let i = 0; i < 4; i++) bytes[bytes.length - 1 - i] = Math.floor(value / 2 ** (8 * i)) & 0xff;
  return bytes;
}
