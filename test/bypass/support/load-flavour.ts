/** `load-flavour.ts iptables|iptables-legacy`: loads the rules by the product's own code, in the network namespace it is started in. */
import { applyFlavour } from "#netfilter/apply.ts";
import { RULES } from "./pod.ts";

const flavour = process.argv[2];
if (flavour !== "iptables" && flavour !== "iptables-legacy") throw new Error("usage: load-flavour.ts FLAVOUR");
applyFlavour(flavour, RULES);
