#!/usr/bin/env bash
# From nothing to two agents behind the gateway on a kind cluster. Twice is as good as once. Needs docker, kind, kubectl, helm, and to pull.
#   deploy/kind/up.sh            then follow what it prints; kind delete cluster --name sidegate ends it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
for program in docker kind kubectl helm; do
  command -v $program >/dev/null || { echo "up: $program is not installed" >&2; exit 69; }
done
kind get clusters 2>/dev/null | grep -qx sidegate || kind create cluster --config deploy/kind/cluster.yaml --wait 120s
deploy/kind/load.sh sidegate
context=(--kube-context kind-sidegate)
helm upgrade --install sidegate charts/gateway "${context[@]}" --namespace sidegate --create-namespace -f deploy/kind/values.yaml --wait --timeout 180s
helm test sidegate "${context[@]}" --namespace sidegate
kubectl --context kind-sidegate apply -f deploy/kind/samples/
kubectl --context kind-sidegate -n sample rollout status deployment/agent deployment/api --timeout=120s
cat <<'EOF'

An agent in the namespace sample, behind the gateway; an API beside it that it may read and not change:
  kubectl -n sample exec deployment/agent -- curl -s http://api.sample.svc.cluster.local/v1/items
  kubectl -n sample exec deployment/agent -- curl -s -X DELETE http://api.sample.svc.cluster.local/v1/items
  kubectl -n sample exec deployment/agent -- curl -s https://example.com/
What it asked, and what was decided:
  kubectl -n sidegate exec sidegate-collector-0 -- /usr/local/bin/node /app/dist/sidegate.js audit query --db /data/audit.db
EOF
