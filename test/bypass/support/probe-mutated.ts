/** `probe-mutated.ts CHAIN:INDEX,…`: runs init's probe while some rules are left out; prints the properties that do not hold. */

import { ruleset } from "#netfilter/model.ts";
import { nftText } from "#netfilter/nft.ts";
import { probe } from "#netfilter/probe.ts";
import { runTool } from "#netfilter/tools.ts";
import { mutated, PROXY_UID, RULES } from "./pod.ts";

const properties = await probe({
  rules: { ...RULES, proxyUid: PROXY_UID },
  ownUid: process.getuid?.() ?? 0,
  load: (options) => void runTool("nft", ["-f", "-"], nftText(ruleset(options).map(mutated))),
});
process.stdout.write(JSON.stringify(properties.filter((p) => !p.holds).map((p) => p.name)));
