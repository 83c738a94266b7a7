#!/usr/bin/env bash
# Sidegate on a cluster that exists: installed by its chart, the samples of deploy/kind under it, what they may and may not do, on record,
# and gone again. Called by e2e.sh with CLUSTER=given or kind. Last line: `e2e: ok`.
#   SIDEGATE_E2E_KUBECONFIG       the cluster (given)
#   SIDEGATE_E2E_PROXY_IMAGE, SIDEGATE_E2E_CONTROL_IMAGE    by tag, where the nodes have them (default: those that load.sh brings)
#   SIDEGATE_E2E_AGENT_IMAGE      has sh and curl (default: the samples')
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source test/e2e/cluster/choose.sh
source test/e2e/lib.sh
proxy=${SIDEGATE_E2E_PROXY_IMAGE:-sidegate-proxy:dev} control=${SIDEGATE_E2E_CONTROL_IMAGE:-sidegate-control:dev}
KUBECTL=$(command -v kubectl || echo "${XDG_CACHE_HOME:-$HOME/.cache}"/sidegate/kube-*/kubectl)
HELM=$(tools/helm/ensure.sh)
export KUBECONFIG=$work/kubeconfig
kubectl() { "$KUBECTL" "$@"; }
helm() { "$HELM" "$@"; }

if [ "$CLUSTER" = kind ]; then
  name=sidegate-e2e-$$
  kind create cluster --name "$name" --config deploy/kind/cluster.yaml --kubeconfig "$KUBECONFIG" --wait 120s
  deploy/kind/load.sh "$name"
else
  cp "$SIDEGATE_E2E_KUBECONFIG" "$KUBECONFIG"
fi
# Never over somebody's installation.
if kubectl get namespace sidegate sample -o name 2>/dev/null | grep -q .; then
  echo "e2e: the cluster has a namespace sidegate or sample already" >&2; rm -rf "$work"; exit 65
fi
finish() {
  local code=$?
  if [ $code != 0 ]; then
    { kubectl get pods -A -o wide; kubectl get events -A --sort-by=.lastTimestamp | tail -30; } >&2 || true
  fi
  if [ "$CLUSTER" = kind ]; then kind delete cluster --name "$name" || true; else
    kubectl delete namespace sample --ignore-not-found --timeout=60s >/dev/null || true
    helm uninstall sidegate --namespace sidegate --no-hooks >/dev/null 2>&1 || true
    kubectl delete namespace sidegate --ignore-not-found --timeout=60s >/dev/null || true
    kubectl get crd -o name 2>/dev/null | grep '\.sidegate\.dev$' | xargs -r "$KUBECTL" delete >/dev/null || true
  fi
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

mkdir "$work/samples"
for file in deploy/kind/samples/*.yaml; do
  sed -e "s#image: sidegate-control:dev#image: $control#" ${SIDEGATE_E2E_AGENT_IMAGE:+-e "s#image: curlimages/curl:.*#image: $SIDEGATE_E2E_AGENT_IMAGE#"} \
    "$file" >"$work/samples/${file##*/}"
done
image() { printf '{"repository": "%s", "tag": "%s"}' "${1%:*}" "${1##*:}"; }
helm install sidegate charts/gateway --namespace sidegate --create-namespace -f deploy/kind/values.yaml \
  --set-json "images.proxy=$(image "$proxy")" --set-json "images.control=$(image "$control")" >/dev/null
kubectl -n sidegate rollout status deployment/sidegate-webhook deployment/sidegate-controller statefulset/sidegate-collector --timeout=180s >/dev/null
check "helm test passes" "Phase: +Succeeded" helm test sidegate --namespace sidegate
within 60000 "the samples are taken" "deployment.apps/agent (created|configured|unchanged)" kubectl apply -f "$work/samples"
kubectl -n sample rollout status deployment/agent deployment/api --timeout=180s >/dev/null
check "the agent is injected" "^sidegate-init sidegate$" kubectl -n sample get pods -l app=agent -o 'jsonpath={.items[0].spec.initContainers[*].name}'
agent() { kubectl -n sample exec deployment/agent -c agent -- curl -sS --max-time 10 -w '\n%{http_code}' "$@"; }
api=http://api.sample.svc.cluster.local
within 20000 "a read is allowed" "the API heard GET /v1/items" agent $api/v1/items
check "a write is denied, with the policy's code" "read_only" agent -X DELETE $api/v1/items
check "an unknown name is not resolved" "Could not resolve" agent http://evil.example/
query() { kubectl -n sidegate exec sidegate-collector-0 -c collector -- /usr/local/bin/node --disable-warning=ExperimentalWarning /app/dist/sidegate.js audit query --db /data/audit.db --json --limit 1000; }
within 20000 "the denied write is on record, with its pod" '"pod":"sample/agent-.*"verdict":"deny","code":"read_only"' query
kubectl delete validatingadmissionpolicy sidegate-gateway >/dev/null
within 20000 "a deleted policy is made anew" "^validatingadmissionpolicy.*/sidegate-gateway$" kubectl get validatingadmissionpolicy sidegate-gateway -o name
kubectl delete namespace sample --timeout=90s >/dev/null
check "it is uninstalled" "uninstalled" helm uninstall sidegate --namespace sidegate --timeout 120s
guards() { kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings -o name | grep -c sidegate; }
check "nothing of ours is asked any more" "^0$" guards
if [ "$(failed_checks)" -gt 0 ]; then echo "e2e: $(failed_checks) failed"; exit 1; fi
echo "e2e: ok"
