import { describe, expect, test } from "vitest";
import { md5Password } from "./md5.ts";
import { preparePassword } from "./prepare.ts";
import { ScramClient, type ScramFault } from "./scram-client.ts";
import { deriveKeys, proof, provesKey, serverSignature } from "./scram-keys.ts";
import { ScramServer } from "./scram-server.ts";
import { readClientFinal, readClientFirst, readServerFinal, readServerFirst } from "./scram-text.ts";

const CLIENT_NONCE = Buffer.alloc(18, 1);
const SERVER_NONCE = Buffer.alloc(18, 2);
const SALT = Buffer.alloc(16, 3);
const END_POINT = Buffer.alloc(32, 4);

interface Sides {
  readonly password?: string;
  readonly placeholder?: string;
  readonly clientBinds?: Uint8Array | null;
  readonly serverBinds?: Uint8Array | null;
}

/** A whole exchange between both of ours; what the client makes of it. */
async function exchange(sides: Sides = {}): Promise<ScramFault | "rejected" | null> {
  const client = new ScramClient({
    password: sides.password ?? "pencil",
    nonce: CLIENT_NONCE,
    endPoint: sides.clientBinds ?? null,
  });
  const server = new ScramServer({
    password: sides.placeholder ?? "pencil",
    nonce: SERVER_NONCE,
    salt: SALT,
    endPoint: sides.serverBinds ?? null,
  });
  const first = server.begin(client.first, client.mechanism.endsWith("PLUS"));
  if (first === null) return "rejected";
  const answer = await client.answer(first);
  if (typeof answer === "string") return answer;
  const final = await server.finish(answer.final);
  return final === null ? "rejected" : client.verify(final);
}

describe("SCRAM-SHA-256", () => {
  test("computes RFC 7677's example", async () => {
    const first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const withoutProof = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const message = `n=user,r=rOprNGfwEbeRWgbNEkqO,${first},${withoutProof}`;
    const keys = await deriveKeys("pencil", Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64"), 4096);
    const given = proof(keys, message);
    expect(given.toString("base64")).toBe("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    expect(serverSignature(keys, message).toString("base64")).toBe("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    expect(provesKey(keys, message, given)).toBe(true);
    expect(provesKey(keys, message, Buffer.alloc(32))).toBe(false);
    expect(provesKey(keys, message, given.subarray(1))).toBe(false);
  });

  test("logs in with the right password only, and both sides know it", async () => {
    expect(await exchange()).toBe(null);
    expect(await exchange({ placeholder: "other" })).toBe("rejected");
    expect(await exchange({ password: "pässwörd", placeholder: "pässwörd" })).toBe(null);
  });

  test("binds to the certificate where both sides can", async () => {
    expect(await exchange({ clientBinds: END_POINT, serverBinds: END_POINT })).toBe(null);
    expect(await exchange({ clientBinds: Buffer.alloc(32, 9), serverBinds: END_POINT })).toBe("rejected");
    expect(await exchange({ clientBinds: END_POINT, serverBinds: null })).toBe("rejected");
    // A client that cannot bind at all says so ("n"), and is served.
    expect(await exchange({ clientBinds: null, serverBinds: END_POINT })).toBe(null);
  });

  test("notices when somebody took the binding out of the server's offer", () => {
    const server = new ScramServer({ password: "x", nonce: SERVER_NONCE, salt: SALT, endPoint: END_POINT });
    expect(server.begin("y,,n=,r=abc", false)).toBe(null);
    expect(server.begin("p=tls-server-end-point,,n=,r=abc", false)).toBe(null);
    expect(server.begin("p=tls-unique,,n=,r=abc", true)).toBe(null);
  });

  const answered = (serverFirst: (nonce: string) => string): Promise<unknown> => {
    const client = new ScramClient({ password: "p", nonce: CLIENT_NONCE, endPoint: null });
    return client.answer(serverFirst(CLIENT_NONCE.toString("base64")));
  };

  test("answers no server that asks for too little or too much work, or for another exchange", async () => {
    expect(await answered((n) => `r=${n}x,s=c2FsdA==,i=4095`)).toBe("too-few-iterations");
    expect(await answered((n) => `r=${n}x,s=c2FsdA==,i=1000001`)).toBe("too-many-iterations");
    expect(await answered((n) => `r=${n},s=c2FsdA==,i=4096`)).toBe("nonce");
    expect(await answered(() => "r=other,s=c2FsdA==,i=4096")).toBe("nonce");
    expect(await answered((n) => `m=ext,r=${n}x,s=c2FsdA==,i=4096`)).toBe("malformed");
  });

  test("believes no server that does not prove that it knows the password", async () => {
    const client = new ScramClient({ password: "p", nonce: CLIENT_NONCE, endPoint: null });
    expect(client.verify(`v=${Buffer.alloc(32).toString("base64")}`)).toBe("server-unproven");
    await client.answer(`r=${CLIENT_NONCE.toString("base64")}x,s=c2FsdA==,i=4096`);
    expect(client.verify("e=invalid-proof")).toBe("refused");
    await client.answer(`r=${CLIENT_NONCE.toString("base64")}x,s=c2FsdA==,i=4096`);
    expect(client.verify(`v=${Buffer.alloc(32).toString("base64")}`)).toBe("server-unproven");
    expect(client.verify("v=")).toBe("server-unproven");
  });

  test("a final message is accepted once", async () => {
    const server = new ScramServer({ password: "p", nonce: SERVER_NONCE, salt: SALT, endPoint: null });
    const client = new ScramClient({ password: "p", nonce: CLIENT_NONCE, endPoint: null });
    const answer = await client.answer(server.begin(client.first, false) ?? "");
    const { final } = answer as { final: string };
    expect(await server.finish(final)).toMatch(/^v=/);
    expect(await server.finish(final)).toBe(null);
  });
});

describe("SCRAM's messages", () => {
  test("are read only in the order of RFC 5802", () => {
    for (const text of [
      "",
      "r=a",
      "s=aa==,r=a,i=1",
      "r=,s=YQ==,i=1",
      "r=a,s=YQ=,i=1",
      "r=a,s=YQ==,i=0",
      "r=a,s=YQ==,i=-1",
      "r=a,s=YR==,i=1",
      "r=a,s=,i=1",
    ])
      expect(readServerFirst(text), text).toBe(null);
    expect(readServerFirst("r=a,s=YQ==,i=1,x=later")).toMatchObject({ nonce: "a", iterations: 1 });
    for (const text of ["", "v", "v=*", "w=YQ=="]) expect(readServerFinal(text), text).toBe(null);
    for (const text of ["", "n,,", "n,,r=a", "x,,n=,r=a", "n,,n=,r=", "n,n=,r=a", "p=,,n=,r=a", "n,,m=x,n=,r=a"])
      expect(readClientFirst(text), text).toBe(null);
    expect(readClientFirst("n,a=other,n=user,r=abc")).toMatchObject({ header: "n,a=other,", bare: "n=user,r=abc" });
    for (const text of ["", "c=biws,r=a", "r=a,c=biws,p=YQ==", "c=biws,p=YQ==", "c=biws,r=a,p=*"])
      expect(readClientFinal(text), text).toBe(null);
  });

  test("are bounded", () => {
    const long = "a".repeat(5_000);
    expect(readServerFirst(`r=${long},s=YQ==,i=1`)).toBe(null);
    expect(readServerFinal(`v=${long}`)).toBe(null);
    expect(readClientFirst(`n,,n=,r=${long}`)).toBe(null);
    expect(readClientFinal(`c=biws,r=${long},p=YQ==`)).toBe(null);
  });
});

describe("a password", () => {
  test("is prepared as RFC 4013 says, and ASCII without loading anything", async () => {
    expect(preparePassword("pencil !~")).toBe("pencil !~");
    expect(await preparePassword("I\u00adX")).toBe("IX");
    expect(await preparePassword("\u00aa")).toBe("a");
    expect(await preparePassword("\u2168")).toBe("IX");
  });

  test("that SASLprep forbids is used as it is", async () => {
    expect(await preparePassword("\u0007")).toBe("\u0007");
    expect(await preparePassword("\u0627\u0031")).toBe("\u0627\u0031");
    expect(await preparePassword("\u00ad")).toBe("\u00ad");
  });
});

test("md5 is PostgreSQL's: user behind the password, then the salt", () => {
  // h=$(printf secretalice | md5sum | cut -c-32); printf "${h}abcd" | md5sum
  expect(md5Password("alice", "secret", Buffer.from("abcd"))).toBe("md5c90bcafc0a2b54511742383e34d5dc9d");
});
