/** `sidegate audit estimate`: how large the collector's volume and the sidecars' spools should be, by measured sizes (docs/sizing.md). */
import { type Command, InvalidArgumentError } from "commander";
import { BYTES, estimate } from "../../src/collector/sizes.ts";
import { renderRows } from "../../src/collector/table.ts";
import { jsonForTerminal } from "../../src/core/escape.ts";
import { exitWith } from "./audit-store.ts";

interface EstimateOptions {
  readonly requests: number;
  readonly perConnection: number;
  readonly pods: number;
  readonly days: number;
  readonly volume?: number;
  readonly spool?: number;
  readonly json?: boolean;
}

export function registerAuditEstimate(audit: Command): void {
  audit
    .command("estimate")
    .description("Say how much room the record needs")
    .requiredOption("--requests <n>", "requests a second, all agents together", parseNumber)
    .option("--per-connection <n>", "requests on one connection", parseNumber, 1)
    .option("--pods <n>", "agent pods", parseNumber, 1)
    .option("--days <n>", "days that records are kept", parseNumber, 30)
    .option("--volume <size>", "the collector's volume (default: 20Gi)", parseSize)
    .option("--spool <size>", "each sidecar's spool, injection.stateSize (default: 64Mi)", parseSize)
    .option("--json", "as one JSON object")
    .action(async (options: EstimateOptions) => exitWith(Promise.resolve(show(options))));
}

function show({
  requests,
  perConnection,
  pods,
  days,
  volume = 20 * 1024 ** 3,
  spool = 64 * 1024 ** 2,
  json,
}: EstimateOptions): number {
  const { bytesPerDay, daysOf, spoolSecondsOf } = estimate({
    requestsPerSecond: requests,
    requestsPerConnection: perConnection,
    pods,
  });
  const figures = {
    bytesPerDay: Math.round(bytesPerDay),
    bytesKept: Math.round(bytesPerDay * days),
    volumeDays: daysOf(volume),
    spoolSeconds: spoolSecondsOf(spool),
  };
  if (json === true) {
    process.stdout.write(`${jsonForTerminal(figures)}\n`);
    return 0;
  }
  const rows = [
    ["a day", size(figures.bytesPerDay)],
    [
      `${days} days`,
      `${size(figures.bytesKept)}; with a fifth to spare, collector.storage.size: ${Math.ceil((figures.bytesKept * 1.2) / 1024 ** 3)}Gi`,
    ],
    [`a volume of ${size(volume)}`, `full after ${figures.volumeDays.toFixed(1)} days, if nothing is removed`],
    [
      `a spool of ${size(spool)}`,
      `holds ${Math.round(figures.spoolSeconds / 60)} minutes of a pod's requests while the collector is away`,
    ],
    [
      "measured",
      `${BYTES.operation.volume} bytes an operation, ${BYTES.connection.volume} a connection; long URLs and bodies on top`,
    ],
  ];
  process.stdout.write(renderRows(rows));
  return 0;
}

function size(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let [value, at] = [bytes, 0];
  while (value >= 1024 && at < units.length - 1) [value, at] = [value / 1024, at + 1];
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[at] ?? ""}`;
}

function parseNumber(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1e9)) throw new InvalidArgumentError("must be a number above 0");
  return value;
}

/** As Kubernetes writes it: 20Gi, 64Mi. */
function parseSize(text: string): number {
  const match = /^(\d{1,9}(?:\.\d+)?)(Ki|Mi|Gi|Ti)?$/.exec(text);
  const power = ["Ki", "Mi", "Gi", "Ti"].indexOf(match?.[2] ?? "") + 1;
  if (match?.[1] === undefined) throw new InvalidArgumentError("must be like 20Gi");
  return Number(match[1]) * 1024 ** power;
}
