/** The demo's output as lines that are equal from run to run: ids, times, ports and widths taken out. */
export function demoLines(output: string): string[] {
  return output
    .split("\n")
    .map((line) =>
      line
        .replaceAll(/\b[a-z0-9]{12}-\d+\b/g, "EVENT")
        .replaceAll(/\b[0-9a-f]{10}\b/g, "RUN")
        .replaceAll(/\b[0-9a-f]{12}\b/g, "REVISION")
        .replaceAll(/\d{4}-\d\d-\d\d[ T][\d:.]+Z?/g, "TIME")
        .replaceAll(/[\d.]+ (ms|s)\b/g, "N ms")
        .replaceAll(/\btok_email_[0-9a-z]{16}\b/g, "TOKEN")
        .replaceAll(/\b(closed|reset) in/g, "ended in")
        .replaceAll(/\s+/g, " ")
        .trim(),
    )
    .filter((line) => line !== "");
}
