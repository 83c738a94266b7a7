/** The first init container of an agent's pod: writes the netfilter rules, proves that they capture, and exits. */
import { runInit } from "#netfilter/init.ts";

process.exitCode = await runInit({
  env: process.env,
  uid: process.getuid?.() ?? 0,
  say: (line) => process.stderr.write(`${line}\n`),
});
