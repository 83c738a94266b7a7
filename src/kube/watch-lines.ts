/** A stream of bytes as lines, each bounded: an object in etcd has 1.5 MiB at most, and its JSON no more than a few times that. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;

/** Throws where a line is longer. A last line without line feed is incomplete, and dropped. */
export async function* readLines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let parts: Uint8Array[] = [];
  let held = 0;
  for await (const chunk of stream) {
    let from = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
      parts.push(chunk.subarray(from, end));
      const line = Buffer.concat(parts).toString("utf8");
      parts = [];
      held = 0;
      from = end + 1;
      if (line !== "") yield line;
    }
    if (from === chunk.length) continue;
    parts.push(chunk.subarray(from));
    held += chunk.length - from;
    if (held > MAX_LINE_BYTES) throw new Error(`a watch event of over ${MAX_LINE_BYTES} bytes`);
  }
}
