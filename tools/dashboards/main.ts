/** Writes the chart's dashboards; a test compares. `node tools/dashboards/main.ts` */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { COLLECTOR } from "./collector.ts";
import { type Dashboard, dashboardText } from "./dashboard.ts";
import { DATA_PATH } from "./data-path.ts";
import { DECISIONS } from "./decisions.ts";
import { FLEET } from "./fleet.ts";
import { INJECTOR } from "./injector.ts";

export const DASHBOARDS: readonly Dashboard[] = [FLEET, DECISIONS, DATA_PATH, INJECTOR, COLLECTOR];

export const pathOf = ({ file }: Dashboard): string => path.join("charts/gateway/dashboards", `${file}.json`);

if (import.meta.main) for (const dashboard of DASHBOARDS) writeFileSync(pathOf(dashboard), dashboardText(dashboard));
