import { lookup as systemLookup } from "node:dns";
import type { LookupFunction } from "node:net";
import { expect, test } from "vitest";
import { FakeTime } from "../../../test/conformance/ports.ts";
import { createTokens, type TokenWanted } from "./tokens.ts";

type Found = string | readonly { readonly address: string; readonly family: number }[];

/** What would be dialled for the endpoint's name, where it resolves to `addresses`; rejects where nothing would. */
async function dialled(addresses: readonly string[], privateToo: boolean, all: boolean): Promise<Found> {
  const resolves = ((_host, _options, done) => {
    done(
      null,
      addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
  }) as LookupFunction;
  let found: Found = "";
  const tokens = createTokens({
    clock: new FakeTime(),
    lookup: resolves,
    async fetch({ lookup = systemLookup }) {
      found = await new Promise<Found>((resolve, reject) => {
        lookup("login.example", { all }, (error, address) => (error === null ? resolve(address) : reject(error)));
      });
      return { value: "a-token-of-this-test", expiresInMs: null };
    },
  });
  const wanted: TokenWanted = {
    tokenUrl: "https://login.example/token",
    clientId: "c",
    clientSecret: "s",
    scope: null,
    audience: null,
    auth: "basic",
    ca: null,
    private: privateToo,
  };
  await tokens.token("key", false, wanted);
  return found;
}

const PUBLIC = "93.184.216.34";

test.each([
  ["10.1.2.3"],
  ["127.0.0.1"],
  ["169.254.169.254"],
  ["::1"],
  ["::ffff:10.1.2.3"],
  ["fd00::1"],
  ["100.64.0.1"],
])("a namespace's token endpoint whose name leads to %s is not dialled", async (address) => {
  await expect(dialled([address], false, true)).rejects.toThrow("where none may be");
});

test("of several addresses only those are dialled that may be; one is given to who asks for one", async () => {
  expect(await dialled(["10.1.2.3", PUBLIC, "::1"], false, true)).toEqual([{ address: PUBLIC, family: 4 }]);
  expect(await dialled(["10.1.2.3", PUBLIC], false, false)).toBe(PUBLIC);
});

test("a target of the cluster may have its endpoint at a private address, and never at the metadata service or loopback", async () => {
  expect(await dialled(["10.1.2.3"], true, false)).toBe("10.1.2.3");
  for (const address of ["127.0.0.1", "169.254.169.254", "fd00:ec2::254"])
    await expect(dialled([address], true, true)).rejects.toThrow("where none may be");
});
