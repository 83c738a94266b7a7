/**
 * The built-in functions that a policy may use: deterministic ones that OPA compiles into the module itself. A capabilities file
 * turns everything else into an error when a policy is checked; `opa build` alone would not even warn.
 *
 * Left out on purpose: the network (`http.send`, `net.lookup_ip_addr`), the process (`opa.runtime`), randomness, clocks (time comes
 * as input, so that a decision can be replayed), `sprintf` (differs between Go and WASM; `$"{x}"` does not), and everything that
 * would have to be supplied by the host.
 */
import { Lru } from "#core/lru.ts";
import { runOpa } from "./run-opa.ts";

const BUILTINS: readonly string[] = [
  // operators
  ..."assign eq equal neq lt lte gt gte plus minus mul div rem and or internal.member_2 internal.member_3".split(" "),
  // numbers, aggregates
  ..."abs ceil floor round count max min sum product sort numbers.range to_number format_int".split(" "),
  ..."bits.and bits.or bits.xor bits.lsh bits.rsh bits.negate".split(" "),
  // texts
  ..."concat contains startswith endswith indexof lower upper replace split substring".split(" "),
  ..."trim trim_left trim_right trim_prefix trim_suffix trim_space strings.reverse strings.replace_n".split(" "),
  ..."internal.template_string".split(" "),
  // patterns: compiled again in each evaluation, 6 to 8 µs each. Not on a hot path.
  ..."glob.match regex.match regex.is_valid regex.find_all_string_submatch_n".split(" "),
  // collections
  ..."array.concat array.flatten array.reverse array.slice intersection union".split(" "),
  ..."object.filter object.get object.keys object.remove object.union object.union_n".split(" "),
  ..."json.filter json.remove json.marshal json.unmarshal json.is_valid walk graph.reachable".split(" "),
  // encodings, addresses
  ..."base64.encode base64.decode base64.is_valid base64url.encode base64url.decode net.cidr_contains net.cidr_intersects".split(
    " ",
  ),
  // types
  ..."is_array is_boolean is_null is_number is_object is_set is_string type_name".split(" "),
  // tests, and `print` in them: both are gone from a built module
  ..."internal.test_case internal.print".split(" "),
];

/** By program: it says the same each time. */
const known = new Lru<string, string>(8);

/** The text of a capabilities file for this `opa`. Throws where it does not know one of the built-ins. */
export async function capabilities(opa: string, cwd: string): Promise<string> {
  const text = known.get(opa) ?? (await ask(opa, cwd));
  known.set(opa, text);
  return text;
}

async function ask(opa: string, cwd: string): Promise<string> {
  const run = await runOpa(opa, { args: ["capabilities", "--current"], cwd });
  if (run.status !== 0) throw new Error(`opa capabilities: ${run.stderr.trim()}`);
  const all = JSON.parse(run.stdout) as { builtins: { name: string }[]; wasm_abi_versions?: unknown };
  const wanted = new Set(BUILTINS);
  const builtins = all.builtins.filter(({ name }) => wanted.delete(name));
  if (wanted.size > 0) throw new Error(`this opa does not know ${[...wanted].join(", ")}`);
  return JSON.stringify({
    builtins,
    wasm_abi_versions: all.wasm_abi_versions,
    features: ["rego_v1", "template_strings", "keywords_in_refs"],
    allow_net: [],
  });
}
