import { describe, expect, test } from "vitest";
import { createRegistry, type MetricSpec } from "./metrics.ts";
import { fillProcessMetrics } from "./process-metrics.ts";
import { register } from "./register-metrics.ts";
import { SIDECAR_METRICS } from "./sidecar-metrics.ts";

const spec = (over: Partial<MetricSpec> = {}): MetricSpec => ({
  name: "x_total",
  type: "counter",
  help: "Things.",
  labels: [],
  maxSeries: 1,
  ...over,
});

describe("the exposition", () => {
  test("is OpenMetrics 1.0: the family without _total, the sample with it, an end mark", () => {
    const registry = createRegistry();
    registry
      .counter(spec({ name: "sent_bytes_total", unit: "bytes", labels: ["way"], maxSeries: 2 }))
      .with("up")
      .add(3);
    registry.gauge(spec({ name: "open", type: "gauge", help: 'A "b"\\\nc.' }));
    expect(registry.text()).toBe(
      [
        "# TYPE sent_bytes counter",
        "# UNIT sent_bytes bytes",
        "# HELP sent_bytes Things.",
        'sent_bytes_total{way="up"} 3',
        "# TYPE open gauge",
        '# HELP open A \\"b\\"\\\\\\nc.',
        "open 0",
        "# EOF",
        "",
      ].join("\n"),
    );
  });

  test("sums up a histogram's buckets; a value on a bound belongs below it", () => {
    const registry = createRegistry();
    const histogram = registry.histogram(
      spec({
        name: "took_seconds",
        type: "histogram",
        unit: "seconds",
        buckets: [0.1, 1],
        labels: ["what"],
        maxSeries: 1,
      }),
    );
    for (const value of [0.05, 0.1, 0.5, 7]) histogram.with("a").observe(value);
    expect(registry.text().split("\n").slice(3, 8)).toEqual([
      'took_seconds_bucket{what="a",le="0.1"} 2',
      'took_seconds_bucket{what="a",le="1"} 3',
      'took_seconds_bucket{what="a",le="+Inf"} 4',
      'took_seconds_sum{what="a"} 7.65',
      'took_seconds_count{what="a"} 4',
    ]);
  });

  test("escapes label values, so that none can add a line", () => {
    const registry = createRegistry();
    registry
      .counter(spec({ labels: ["a"] }))
      .with('x"\n\\y')
      .add(1);
    expect(registry.text()).toContain('x_total{a="x\\"\\n\\\\y"} 1\n');
  });

  test("refreshes what is only known when somebody asks", () => {
    const registry = createRegistry();
    const gauge = registry.gauge(spec({ name: "lag", type: "gauge" })).with();
    let lag = 1;
    registry.beforeReading(() => {
      gauge.value = lag;
    });
    expect(registry.text()).toContain("lag 1\n");
    lag = 2;
    expect(registry.text()).toContain("lag 2\n");
  });
});

test("label sets beyond the bound are folded into one, which keeps counting", () => {
  const registry = createRegistry();
  const metric = registry.counter(spec({ labels: ["a", "b"], maxSeries: 2 }));
  for (let i = 0; i < 1000; i++) metric.with(`v${i}`, "x").add(1);
  metric.with("v0", "x").add(1);
  expect(registry.text().match(/^x_total.*$/gm)).toEqual([
    'x_total{a="v0",b="x"} 2',
    'x_total{a="v1",b="x"} 1',
    'x_total{a="other",b="other"} 998',
  ]);
});

test("an info metric has only its newest labels", () => {
  const registry = createRegistry();
  const info = registry.gauge(spec({ name: "policy_info", type: "gauge", labels: ["revision"] }));
  for (const revision of ["r1", "r2"]) {
    info.clear();
    info.with(revision).value = 1;
  }
  expect(registry.text().match(/^policy_info.*$/gm)).toEqual(['policy_info{revision="r2"} 1']);
});

test.each<[string, Partial<MetricSpec>]>([
  ["a counter without _total", { name: "x" }],
  ["a gauge with _total", { type: "gauge" }],
  ["a unit that is not the end of the name", { unit: "seconds" }],
  ["a histogram without buckets", { name: "x", type: "histogram" }],
  ["buckets that do not ascend", { name: "x", type: "histogram", buckets: [1, 1] }],
  ["no bound", { maxSeries: 0 }],
  ["no help", { help: "" }],
  ["a name that Prometheus does not take", { name: "a-b_total" }],
  ["a label that is le", { labels: ["le"] }],
])("%s is a bug and throws at start", (_, over) => {
  expect(() => createRegistry().counter(spec(over))).toThrow(/^metric /);
});

test("the same name twice, or the wrong number of labels, throws", () => {
  const registry = createRegistry();
  const metric = registry.counter(spec());
  expect(() => registry.counter(spec())).toThrow("declared twice");
  expect(() => metric.with("a")).toThrow(RangeError);
});

describe("the sidecar's catalogue", () => {
  test("has at most 150 series, everything folded included", () => {
    let series = 0;
    for (const metric of Object.values(SIDECAR_METRICS) as MetricSpec[]) {
      const sets = metric.maxSeries + (metric.labels.length > 0 && !metric.name.endsWith("_info") ? 1 : 0);
      series += sets * (metric.type === "histogram" ? (metric.buckets?.length ?? 0) + 3 : 1);
    }
    expect(series).toBeLessThanOrEqual(150);
  });

  test("is what a scrape shows, and reads the process", () => {
    const registry = createRegistry();
    const metrics = register(registry, SIDECAR_METRICS);
    fillProcessMetrics(registry, metrics, {
      netFolder: "/proc/self/net",
      startedMs: 1_700_000_000_000,
      droppedLines: () => 7,
      ready: () => true,
    });
    metrics.operations.with("http", "deny", "target_unknown").add(2);
    metrics.decisionSeconds.with().observe(0.000_02);
    const text = registry.text();
    expect(text).toContain('sidegate_operations_total{protocol="http",verdict="deny",code="target_unknown"} 2\n');
    expect(text).toContain('sidegate_decision_duration_seconds_bucket{le="0.000025"} 1\n');
    expect(text).toContain("process_start_time_seconds 1700000000\n");
    expect(text).toContain("sidegate_log_dropped_lines_total 7\n");
    expect(text).toContain("sidegate_ready 1\n");
    expect(text).toMatch(/^process_resident_memory_bytes [1-9]\d{6,}$/m);
    for (const line of text.trimEnd().split("\n"))
      expect(line).toMatch(
        /^(# (TYPE|UNIT|HELP) [a-z_]+ .+|# EOF|[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+)$/,
      );
  });
});
