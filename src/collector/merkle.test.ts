import * as fc from "fast-check";
import { expect, test } from "vitest";
import { type Digest, includes, inclusionPath, leafHash, nodeHash, Peaks, rootOf } from "./merkle.ts";

// The inputs of the Certificate Transparency reference tests, and the roots of RFC 6962 trees over their first n.
const LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const ROOTS = [
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

const leaves = (n: number): Digest[] => Array.from({ length: n }, (_, i) => leafHash(Buffer.from(String(i))));

/** RFC 6962, section 2.1, as it is written: slow and plain. */
function definition(list: readonly Digest[]): Digest {
  const [first] = list;
  if (list.length === 1 && first !== undefined) return first;
  let split = 1;
  while (split * 2 < list.length) split *= 2;
  return nodeHash(definition(list.slice(0, split)), definition(list.slice(split)));
}

test("gives the roots of the Certificate Transparency test vectors", () => {
  const tree = new Peaks();
  expect(tree.root().toString("hex")).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  for (const [i, hex] of LEAVES.entries()) {
    tree.append(leafHash(Buffer.from(hex, "hex")));
    expect(tree.root().toString("hex")).toBe(ROOTS[i]);
  }
});

test("grown leaf by leaf, and stored in between, it is the tree of the RFC", () => {
  const all = leaves(70);
  let tree = new Peaks();
  for (const [i, leaf] of all.entries()) {
    tree.append(leaf);
    tree = new Peaks(tree.size, tree.toBlob());
    expect(tree.root().equals(definition(all.slice(0, i + 1)))).toBe(true);
  }
});

test("peaks that do not fit their size are refused", () => {
  expect(() => new Peaks(3, Buffer.alloc(32))).toThrow("do not fit");
  expect(() => new Peaks(0, Buffer.alloc(32))).toThrow("do not fit");
});

test("a path proves its leaf, at its place, under its root, and nothing else", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.nat(39), fc.nat(39), fc.nat(), (size, at, other, flip) => {
      const all = leaves(size);
      const index = at % size;
      const leaf = all[index] ?? leafHash(Buffer.alloc(0));
      const path = inclusionPath(all, index);
      const root = rootOf(all);
      expect(includes(root, size, index, leaf, path)).toBe(true);
      expect(includes(root, size, other % size, leaf, path)).toBe(other % size === index);
      expect(includes(root, size, index, leafHash(Buffer.from("x")), path)).toBe(false);
      expect(includes(root, size, index, leaf, [...path, leaf])).toBe(false);
      const bent = path.map((d, i) => (i === flip % Math.max(1, path.length) ? leafHash(d) : d));
      expect(includes(root, size, index, leaf, bent)).toBe(path.length === 0);
    }),
    { numRuns: 300 },
  );
});
