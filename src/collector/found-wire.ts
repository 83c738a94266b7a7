/** A found record as it travels to a reader: bytes in base64, everything else as it is. Both ends share it. */
import type { Found } from "./store/port.ts";

export interface FoundWire extends Omit<Found, "core" | "end" | "sessionCore"> {
  readonly core: string;
  readonly end: string | null;
  readonly sessionCore: string | null;
}

/** About what it takes in memory and on the way. */
export function foundBytes({ core, end, sessionCore, detail }: Found): number {
  return core.length + (end?.length ?? 0) + (sessionCore?.length ?? 0) + (detail?.text.length ?? 0) + ROW_BYTES;
}

/** Of its other members. */
const ROW_BYTES = 256;

export function toWire(found: Found): FoundWire {
  const text = (bytes: Uint8Array): string =>
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
  return {
    ...found,
    core: text(found.core),
    end: found.end === null ? null : text(found.end),
    sessionCore: found.sessionCore === null ? null : text(found.sessionCore),
  };
}

export function fromWire(wire: FoundWire): Found {
  const bytes = (text: string): Uint8Array => Buffer.from(text, "base64");
  return {
    ...wire,
    core: bytes(wire.core),
    end: wire.end === null ? null : bytes(wire.end),
    sessionCore: wire.sessionCore === null ? null : bytes(wire.sessionCore),
  };
}
