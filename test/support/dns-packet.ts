/** dns-packet, with the types that it does not bring: the oracle for our own DNS code, in tests only. */
// @ts-expect-error dns-packet has no declarations
import * as untyped from "dns-packet";

export interface DnsPacketRecord {
  readonly name: string;
  readonly type: string;
  readonly ttl: number;
  readonly data: unknown;
  readonly options: readonly { readonly code: number; readonly data: Buffer }[];
}
export interface DnsPacket {
  readonly id: number;
  readonly type: string;
  readonly flags: number;
  readonly rcode: string;
  readonly flag_tc: boolean;
  readonly questions: readonly { readonly name: string; readonly type: string }[];
  readonly answers: readonly DnsPacketRecord[];
  readonly additionals: readonly DnsPacketRecord[];
}

const library = untyped as { encode(packet: object): Buffer; decode(message: Buffer): DnsPacket };

export function encodeDns(packet: object): Uint8Array {
  return new Uint8Array(library.encode(packet));
}

export function decodeDns(message: Uint8Array): DnsPacket {
  return library.decode(Buffer.from(message));
}

/** A query as a client's library writes it. */
export function dnsQuery(name: string, type = "A", more: object = {}): Uint8Array {
  return encodeDns({ type: "query", id: 77, flags: 0x100, questions: [{ name, type }], ...more });
}

/** EDNS, version 0. */
export const EDNS = {
  additionals: [{ type: "OPT", name: ".", udpPayloadSize: 1232, flags: 0, options: [] }],
} as const;
