/**
 * Grafana's dashboards from short descriptions: always the same JSON for the same description, with ids and places counted in order. What
 * they ask Prometheus is an ordinary list, so that tests can ask it too.
 *
 * Written for Grafana 9 and later (schemaVersion 38); the data source is a variable, so nothing in it belongs to one installation.
 */

export interface Query {
  readonly expr: string;
  /** As Grafana fills it: `{{label}}`. */
  readonly legend: string;
  /** In a run where something was allowed and something denied, this has data. */
  readonly always?: true;
}

export interface Panel {
  readonly title: string;
  /** What one sees here, and what is good or bad. */
  readonly about: string;
  readonly kind: "lines" | "number" | "table";
  /** Grafana's own word: short, ops, s, bytes, Bps, percentunit, dateTimeFromNow. */
  readonly unit: string;
  readonly queries: readonly Query[];
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

export interface Dashboard {
  readonly file: string;
  readonly title: string;
  readonly about: string;
  readonly rows: readonly Row[];
}

const COLUMNS = 24;
const SIZE = { lines: { w: 12, h: 8 }, number: { w: 6, h: 4 }, table: { w: 12, h: 8 } } as const;
const SOURCE = { type: "prometheus", uid: "${source}" } as const;

/** Panels by which namespaces can be chosen. */
export const IN_NAMESPACE = 'namespace=~"$namespace"';

/** What stands for Grafana's variables where there is no Grafana. */
export function asAsked(expr: string): string {
  return expr.replaceAll("$__rate_interval", "1m").replaceAll("$__range", "10m").replaceAll("$namespace", ".*");
}

export function queriesOf(dashboard: Dashboard): readonly Query[] {
  return dashboard.rows.flatMap(({ panels }) => panels.flatMap(({ queries }) => queries));
}

export function dashboardText(dashboard: Dashboard): string {
  return `${JSON.stringify(toGrafana(dashboard), null, 1)}\n`;
}

function toGrafana({ file, title, about, rows }: Dashboard): unknown {
  const panels: unknown[] = [];
  let y = 0;
  for (const row of rows) {
    panels.push({
      id: panels.length + 1,
      type: "row",
      title: row.title,
      collapsed: false,
      gridPos: { x: 0, y, w: COLUMNS, h: 1 },
    });
    y += 1;
    let x = 0;
    let lowest = y;
    for (const panel of row.panels) {
      const { w, h } = SIZE[panel.kind];
      if (x + w > COLUMNS) {
        x = 0;
        y = lowest;
      }
      panels.push(toPanel(panel, panels.length + 1, { x, y, w, h }));
      x += w;
      lowest = Math.max(lowest, y + h);
    }
    y = lowest;
  }
  return {
    uid: `sidegate-${file}`,
    title: `Sidegate / ${title}`,
    description: about,
    tags: ["sidegate"],
    schemaVersion: 38,
    version: 1,
    editable: true,
    refresh: "30s",
    time: { from: "now-3h", to: "now" },
    templating: { list: variables() },
    links: [
      {
        type: "dashboards",
        tags: ["sidegate"],
        title: "Sidegate",
        asDropdown: true,
        includeVars: true,
        keepTime: true,
      },
    ],
    panels,
  };
}

function variables(): unknown[] {
  return [
    { name: "source", label: "Data source", type: "datasource", query: "prometheus", current: {}, hide: 0 },
    {
      name: "namespace",
      label: "Namespace",
      type: "query",
      datasource: SOURCE,
      query: { query: "label_values(sidegate_ready, namespace)", refId: "namespace" },
      refresh: 2,
      sort: 1,
      multi: true,
      includeAll: true,
      allValue: ".*",
      current: { text: "All", value: "$__all" },
    },
  ];
}

function toPanel(
  { title, about, kind, unit, queries }: Panel,
  id: number,
  gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number },
): unknown {
  const instant = kind !== "lines";
  return {
    id,
    type: { lines: "timeseries", number: "stat", table: "table" }[kind],
    title,
    description: about,
    datasource: SOURCE,
    gridPos,
    fieldConfig: {
      defaults: { unit, ...(kind === "lines" && { min: 0, custom: { fillOpacity: 10, showPoints: "never" } }) },
      overrides: [],
    },
    options:
      kind === "number"
        ? { reduceOptions: { calcs: ["lastNotNull"] }, colorMode: "none", graphMode: "none" }
        : kind === "lines"
          ? {
              legend: { displayMode: "table", placement: "bottom", calcs: ["lastNotNull", "max"] },
              tooltip: { mode: "multi", sort: "desc" },
            }
          : {},
    targets: queries.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode(65 + index),
      datasource: SOURCE,
      expr,
      legendFormat: legend,
      ...(instant ? { instant: true, format: kind === "table" ? "table" : "time_series" } : { range: true }),
    })),
  };
}
