# On record, with who did it: what the scenarios policy and job made the agents do.
arrived() { audit query --json --limit 1000 | grep -q '"pod":"shop/errand-.*/v1/errand'; }
wait_for 120 "records" arrived || true
audit query --all --json --limit 100000 >"$work/record.ndjson" || true
check "the allowed request is on record, with its pod" '"pod":"shop/agent-python-.*"verdict":"allow".*/v1/items/7' cat "$work/record.ndjson"
check "the denied request is on record, with the policy's code" '"pod":"shop/agent-node-.*"verdict":"deny","code":"no_deletes"' cat "$work/record.ndjson"
check "the Job's request is on record" '"pod":"shop/errand-' cat "$work/record.ndjson"
check "with its service account" '"serviceAccount":"agent"' cat "$work/record.ndjson"
check "with who made the pod" '"creator":"system:serviceaccount:kube-system:replicaset-controller"' cat "$work/record.ndjson"
check "with its owner" '"owner":"ReplicaSet/agent-python-' cat "$work/record.ndjson"
check "the record is whole" "^exit 0$" verified

# What a record takes on disk (docs/sizing.md).
on_disk() { kubectl -n sidegate exec sidegate-collector-0 -c collector -- sh -c 'cat /data/audit.db /data/audit.db-wal 2>/dev/null | wc -c'; }
before=$(on_disk)
agent python curl -sS -o /dev/null --max-time 240 "http://$api/v1/items/[1-2000]"
two_thousand() { audit query --json --limit 1 | grep '/v1/items/2000"'; }
within 60000 "2,000 requests arrive" "items/2000" two_thousand
echo "$((($(on_disk) - before) / 2000)) bytes of the collector's volume a request"
