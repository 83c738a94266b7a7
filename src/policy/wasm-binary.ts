/**
 * Reads and writes the pieces of a WebAssembly module: numbers in LEB128, names, sized sections. Every read is checked against its
 * section's end; a number that is too long, or a piece that is cut short, is an error.
 *
 * Format: WebAssembly Core Specification, section 5.2 (values) and 5.5.2 (sections).
 */

/** Not a module that OPA's compiler would emit. */
export class WasmError extends Error {
  readonly code = "bundle_wasm";
}

export class Reader {
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

export class Writer {
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
  name(text: string): void {
    const bytes = Buffer.from(text);
    this.u32(bytes.length);
    this.copy(bytes, 0, bytes.length);
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
