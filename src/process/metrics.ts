/**
 * A registry of metrics and their text form: OpenMetrics 1.0. No dependency, nothing allocated when a series is counted.
 *
 * Bounded: each metric says how many label sets it may have; further ones are folded into one whose labels all are "other", so
 * that an agent cannot make series. Errs towards throwing where a metric is declared wrongly (a bug), never where it is used.
 */
export interface MetricSpec {
  /** As OpenMetrics wants it: a counter's ends in `_total`, and a unit is the last part of the name before that. */
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly unit?: "seconds" | "bytes" | "records";
  readonly help: string;
  readonly labels: readonly string[];
  /** Label sets at most; the folded one comes on top. 1 for a metric without labels. */
  readonly maxSeries: number;
  /** Upper bounds, ascending, without +Inf. Histograms only. */
  readonly buckets?: readonly number[];
}

/** One series. Keep it where it is used often: finding it costs a join of its labels. */
export interface Series {
  value: number;
  /** Counters only go up: `by` is never negative. */
  add(by: number): void;
}

export interface Distribution {
  observe(value: number): void;
}

export interface Registry {
  counter(spec: MetricSpec): Metric<Series>;
  gauge(spec: MetricSpec): Metric<Series>;
  histogram(spec: MetricSpec): Metric<Distribution>;
  /** Called before each reading: to set gauges that are only known when somebody asks. Must be quick and not throw. */
  beforeReading(refresh: () => void): void;
  /** The whole exposition, ending in `# EOF`. */
  text(): string;
}

export interface Metric<S> {
  /** In the order of the spec's labels. */
  with(...labels: readonly string[]): S;
  /** Forgets all series (an info metric whose labels change). Series taken before count nowhere any more. */
  clear(): void;
}

export const CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const OTHER = "other";

class Family<S extends { lines(prefix: string, labels: string): string }> implements Metric<S> {
  readonly spec: MetricSpec;
  readonly #series = new Map<string, S>();
  readonly #make: (spec: MetricSpec) => S;
  #other: S | null = null;

  constructor(spec: MetricSpec, make: (spec: MetricSpec) => S) {
    check(spec);
    this.spec = spec;
    this.#make = make;
    if (spec.labels.length === 0) this.with();
  }

  with(...labels: readonly string[]): S {
    if (labels.length !== this.spec.labels.length) throw new RangeError(`${this.spec.name}: ${labels.length} labels`);
    const key = labels.join("\0");
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    if (this.#series.size >= this.spec.maxSeries) {
      this.#other ??= this.#make(this.spec);
      return this.#other;
    }
    const made = this.#make(this.spec);
    this.#series.set(key, made);
    return made;
  }

  clear(): void {
    this.#series.clear();
    this.#other = null;
  }

  text(): string {
    const { name, type, unit, help } = this.spec;
    const family = type === "counter" ? name.slice(0, -"_total".length) : name;
    let out = `# TYPE ${family} ${type}\n`;
    if (unit !== undefined) out += `# UNIT ${family} ${unit}\n`;
    out += `# HELP ${family} ${escape(help)}\n`;
    for (const [key, series] of this.#series)
      out += series.lines(name, labelText(this.spec.labels, key === "" ? [] : key.split("\0")));
    if (this.#other !== null)
      out += this.#other.lines(
        name,
        labelText(
          this.spec.labels,
          this.spec.labels.map(() => OTHER),
        ),
      );
    return out;
  }
}

class NumberSeries implements Series {
  value = 0;
  add(by: number): void {
    this.value += by;
  }
  lines(name: string, labels: string): string {
    return `${name}${labels === "" ? "" : `{${labels}}`} ${numberText(this.value)}\n`;
  }
}

class BucketSeries implements Distribution {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array; // of each bucket alone; summed up when read
  #sum = 0;

  constructor(spec: MetricSpec) {
    this.#bounds = spec.buckets ?? [];
    this.#counts = new Float64Array(this.#bounds.length + 1);
  }

  observe(value: number): void {
    let i = 0;
    while (i < this.#bounds.length && value > (this.#bounds[i] ?? 0)) i++;
    this.#counts[i] = (this.#counts[i] ?? 0) + 1;
    this.#sum += value;
  }

  lines(name: string, labels: string): string {
    const also = labels === "" ? "" : `${labels},`;
    const own = labels === "" ? "" : `{${labels}}`;
    let total = 0;
    let out = "";
    for (const [i, bound] of this.#bounds.entries()) {
      total += this.#counts[i] ?? 0;
      out += `${name}_bucket{${also}le="${numberText(bound)}"} ${total}\n`;
    }
    total += this.#counts[this.#bounds.length] ?? 0;
    return `${out}${name}_bucket{${also}le="+Inf"} ${total}\n${name}_sum${own} ${numberText(this.#sum)}\n${name}_count${own} ${total}\n`;
  }
}

export function createRegistry(): Registry {
  const families = new Map<string, Family<NumberSeries> | Family<BucketSeries>>();
  const refreshers: (() => void)[] = [];

  function add<F extends Family<NumberSeries> | Family<BucketSeries>>(family: F): F {
    if (families.has(family.spec.name)) throw new Error(`metric ${family.spec.name} declared twice`);
    families.set(family.spec.name, family);
    return family;
  }

  return {
    counter: (spec) => add(new Family(spec, () => new NumberSeries())),
    gauge: (spec) => add(new Family(spec, () => new NumberSeries())),
    histogram: (spec) => add(new Family(spec, (s) => new BucketSeries(s))),
    beforeReading: (refresh) => void refreshers.push(refresh),
    text() {
      for (const refresh of refreshers) refresh();
      let out = "";
      for (const family of families.values()) out += family.text();
      return `${out}# EOF\n`;
    },
  };
}

const NAME = /^[a-z_][a-z0-9_]*$/;

function check({ name, type, unit, labels, maxSeries, buckets, help }: MetricSpec): void {
  const wrong = (why: string): never => {
    throw new Error(`metric ${name}: ${why}`);
  };
  if (!NAME.test(name) || !labels.every((label) => NAME.test(label) && label !== "le")) wrong("name");
  const counter = name.endsWith("_total");
  if (counter !== (type === "counter")) wrong("a counter, and nothing else, ends in _total");
  const base = counter ? name.slice(0, -"_total".length) : name;
  if (unit !== undefined && !base.endsWith(`_${unit}`)) wrong("the unit is not the end of the name");
  if (help === "" || !Number.isInteger(maxSeries) || maxSeries < 1) wrong("help or bound");
  if ((buckets !== undefined) !== (type === "histogram")) wrong("buckets");
  if (buckets?.some((bound, i) => i > 0 && bound <= (buckets[i - 1] ?? Infinity)) === true)
    wrong("buckets not ascending");
}

function labelText(names: readonly string[], values: readonly string[]): string {
  return names.map((name, i) => `${name}="${escape(values[i] ?? "")}"`).join(",");
}

/** OpenMetrics 1.0, escaped-string: backslash, quote, line feed. Values are our own words; long ones are cut all the same. */
function escape(text: string): string {
  return text.slice(0, 200).replace(/[\\"\n]/g, (c) => (c === "\n" ? "\\n" : `\\${c}`));
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  return String(value);
}
