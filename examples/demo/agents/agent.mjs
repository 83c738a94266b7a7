// An ordinary agent: Node's fetch, nothing of Sidegate's.
const [, , method, url] = process.argv;
const answer = await fetch(url, { method, signal: AbortSignal.timeout(10_000) });
console.log(answer.status, (await answer.text()).trim());
