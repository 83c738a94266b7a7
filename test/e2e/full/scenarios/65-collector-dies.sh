# The collector dies: its records come when it is back, once.
kubectl -n sidegate delete pod sidegate-collector-0 --wait=false >/dev/null
check "agents go on while the collector is away" "http GET /v1/items/12" http python "http://$api/v1/items/12"
kubectl -n sidegate rollout status statefulset/sidegate-collector --timeout=240s >/dev/null || true
kubectl -n sidegate wait --for=condition=Ready pod/sidegate-collector-0 --timeout=240s >/dev/null || true
twelve() { audit query --all --json --limit 100000 | grep -c '/v1/items/12"'; }
within 60000 "what happened meanwhile is on record, once" "^1$" twelve
check "the record is whole" "^exit 0$" verified
