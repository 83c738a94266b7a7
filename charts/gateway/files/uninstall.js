// helm uninstall, before anything else: names the pods that still have a gateway and refuses, or ends the guard.
const { readFileSync } = require("node:fs");
const token = readFileSync("/var/run/secrets/kubernetes.io/serviceaccount/token", "utf8");
async function call(path, method = "GET") {
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(process.env.API + path, { method, headers, signal: AbortSignal.timeout(20_000) });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}
async function injected() {
  const found = [];
  let next = "";
  do {
    const page = await call(`/api/v1/pods?limit=500&continue=${encodeURIComponent(next)}`);
    for (const { metadata, status } of page.items)
      if (metadata.annotations?.["sidegate.dev/injected"] && !["Succeeded", "Failed"].includes(status.phase))
        found.push(`${metadata.namespace}/${metadata.name}`);
    next = page.metadata.continue ?? "";
  } while (next !== "");
  return found;
}
(async () => {
  const pods = await injected();
  if (pods.length > 0) {
    console.error(`${pods.length} pods still have a gateway; take the label from their namespaces and make them anew first:`);
    for (const pod of pods.slice(0, 50)) console.error(`  ${pod}`);
    console.error("helm uninstall --no-hooks goes ahead all the same: they keep their last policy and then deny.");
    process.exit(1);
  }
  await call(`/api/v1/namespaces/${process.env.NAMESPACE}/configmaps/sidegate-guarded`, "DELETE");
  // Until every replica has seen it.
  await new Promise((resolve) => setTimeout(resolve, 3_000));
})().catch((fault) => {
  console.error(String(fault.cause ?? fault));
  process.exit(1);
});
