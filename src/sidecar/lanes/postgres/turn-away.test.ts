/** A client that is not let in: what it is told, and that nothing it sends is taken for more than its first packets. */
import { describe, expect, test } from "vitest";
import { KeptChunk } from "#core/kept-chunk.ts";
import type { Agent } from "#sidecar/seam/leg.ts";
import type { Refusal } from "#sidecar/seam/verdict.ts";
import { readNotice } from "./codec/backend.ts";
import { cancelText, SSL_REQUEST, startupText } from "./codec/startup.ts";
import { int32 } from "./codec/text.ts";
import { TurnedAway } from "./turn-away.ts";

const REFUSAL: Refusal = {
  kind: "refusal",
  code: "not_allowed",
  class: "policy",
  retryable: false,
  message: "No policy allows this operation.",
  advice: "Ask for a rule.",
  policy: "",
  event: "boot/7",
} as Refusal;
const STARTUP = startupText({ minor: 0, parameters: [["user", "agent"]] });
const GSSENC = int32(8) + int32(80_877_104);

class Client {
  said = "";
  ended = 0;
  reset = 0;
  secured = 0;
  tls: Agent["tls"] = null;
  readonly heard: TurnedAway;

  constructor() {
    this.heard = new TurnedAway(
      {
        get tls() {
          return null;
        },
        write: (bytes: string) => {
          this.said += bytes;
          return true;
        },
        end: () => void this.ended++,
        reset: () => void this.reset++,
        startTls: () => void this.secured++,
      } as unknown as Agent,
      REFUSAL,
    );
  }

  say(text: string): this {
    if (text !== "") this.heard.data(new KeptChunk(Buffer.from(text, "latin1")));
    return this;
  }
}

const told = (said: string): Record<string, string> => Object.fromEntries(readNotice(said.slice(5)) ?? []);

describe("a client that is not let in", () => {
  test("reads FATAL, a SQLSTATE, what to do and the record's id, wherever its packet is cut", () => {
    for (let at = 0; at <= STARTUP.length; at++) {
      const client = new Client().say(STARTUP.slice(0, at)).say(STARTUP.slice(at));
      expect(told(client.said)).toMatchObject({
        S: "FATAL",
        C: "42501",
        M: "sidegate: No policy allows this operation.",
        H: "Ask for a rule.",
        D: "code not_allowed, class policy, event boot/7",
      });
      expect([client.ended, client.reset]).toEqual([1, 0]);
    }
  });

  test("is secured first where it asks for TLS, and told nothing before", () => {
    const client = new Client().say(GSSENC).say(SSL_REQUEST);
    expect([client.said, client.secured]).toEqual(["NS", 1]);
    client.heard.secured();
    client.say(STARTUP);
    expect(told(client.said.slice(2))).toMatchObject({ S: "FATAL" });
  });

  test("that says anything else is reset: plaintext behind SSLRequest, twice the same, other protocols, lengths", () => {
    for (const pieces of [
      [SSL_REQUEST + STARTUP],
      [SSL_REQUEST, STARTUP],
      [GSSENC, GSSENC],
      ["GET / HTTP/1.1\r\n\r\n"],
      [int32(7) + int32(0x30000)],
      [int32(10_001) + int32(0x30000)],
      [int32(9) + int32(80_877_103)],
    ]) {
      const client = new Client();
      for (const piece of pieces) client.say(piece);
      expect(client.reset, JSON.stringify(pieces)).toBeGreaterThan(0);
      expect(client.said, JSON.stringify(pieces)).not.toContain("FATAL");
    }
  });

  test("with a CancelRequest hears nothing, as from a server", () => {
    const client = new Client().say(cancelText(1, "keyy"));
    expect([client.said, client.ended, client.reset]).toEqual(["", 1, 0]);
  });

  test("may not go on for ever behind the answer", () => {
    const client = new Client().say(STARTUP).say("x".repeat(65_000));
    expect(client.reset).toBe(0);
    client.say("x".repeat(1_000));
    expect(client.reset).toBe(1);
  });
});
