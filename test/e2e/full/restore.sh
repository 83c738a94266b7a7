# After a scenario that failed: what the next one counts on, as far as it can be had.
kubectl -n sidegate scale deployment/sidegate-webhook deployment/sidegate-controller --replicas=2
kubectl -n sidegate rollout status deployment/sidegate-webhook deployment/sidegate-controller --timeout=90s || true
kubectl -n sidegate rollout status statefulset/sidegate-collector --timeout=90s || true
rm -f "$RUN/record/filler"
kubectl delete namespace crew data late --ignore-not-found --wait=false
kubectl -n shop delete deployment crowd stamped agent-orders agent-clients --ignore-not-found --wait=false
cli unfreeze -n shop || true
policy test/e2e/full/policy.rego | kubectl apply -f - || true
kubectl -n shop rollout status deployment/agent-python deployment/agent-node --timeout=90s || true
