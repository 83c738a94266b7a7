#!/usr/bin/env bash
# `make smoke-node`: a pod that `sidegate inject` has patched runs on a real node: its requests are captured, judged and on record.
# Builds the node from Go modules where it is not in the cache, needs root, and leaves nothing behind. Last line: `smoke-node: ok`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ "$(id -u)" = 0 ] || { echo "smoke-node: needs root (a node's namespaces, mounts and rules)" >&2; exit 77; }
for step in deps build images; do bash "test/e2e/cluster/$step.sh"; done
source test/e2e/cluster/env.sh
source test/e2e/lib.sh
finish() { bash test/e2e/cluster/down.sh; rm -rf "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM

bash test/e2e/cluster/up.sh
source test/e2e/cluster/env.sh

# 1. The policy: two targets, signed with a key of this run.
mkdir "$work/policy"; cp test/e2e/smoke/*.rego "$work/policy/"
target() { # NAME PORT TLS
  printf -- '---\napiVersion: sidegate.dev/v1alpha1\nkind: EgressTarget\nmetadata: {name: %s}\nspec:\n' "$1"
  printf '  hosts: [api.default.svc.cluster.local]\n  ports: [%s]\n  protocol: http\n  private: true\n  tls: %s\n' "$2" "$3"
  [ "$3" = none ] || { printf '  upstream:\n    ca: |\n'; sed 's/^/      /' "$PKI/ca.crt"; }
}
{ target api 443 inspect; target api-plain 80 none; } >"$work/policy/targets.yaml"
bin/sidegate policy build "$work/policy" -o "$work/bundle.tar.gz" --scope sidegate --key-id sidegate

# 2. Collector and upstream, each with a certificate of the cluster's authority.
certificate() { # NAMESPACE NAME DNS
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$work/tls.key" -subj "/CN=$2" -out "$work/csr" 2>/dev/null
  openssl x509 -req -in "$work/csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -days 2 \
    -extfile <(echo "subjectAltName=DNS:$3") -out "$work/tls.crt" 2>/dev/null
  kubectl -n "$1" create secret tls "$2" --cert "$work/tls.crt" --key "$work/tls.key" >/dev/null
}
kubectl create namespace sidegate >/dev/null
certificate sidegate collector-tls collector.sidegate.svc.cluster.local
certificate default api-tls api.default.svc.cluster.local
kubectl get --raw /openid/v1/jwks >"$work/jwks.json"
kubectl -n sidegate create configmap token-keys --from-file "$work/jwks.json" >/dev/null
kubectl create configmap policy --from-file "$work/bundle.tar.gz" >/dev/null
kubectl apply -f "$repository/test/e2e/smoke/collector.yaml" -f "$repository/test/e2e/smoke/api.yaml" >/dev/null
kubectl -n sidegate wait --for=condition=Ready pod/collector --timeout=60s >/dev/null
kubectl wait --for=condition=Ready pod/api --timeout=60s >/dev/null

# 3. The sample agent, injected on this machine.
inject() {
  bin/sidegate inject -f - --image sidegate.local/sidegate-proxy:1 --cluster e2e \
    --collector https://collector.sidegate.svc.cluster.local:8443 --collector-ca "$PKI/ca.crt" \
    --bundle-config-map policy --bundle-key "$work/bundle.tar.gz.pub.pem" --resolver "$DNS_IP" "$@"
}
start_agent() { # NAME FLAG...
  local name=$1 start=$SECONDS; shift
  sed "s/name: agent,/name: $name,/" test/e2e/smoke/agent.yaml | inject "$@" | kubectl apply -f - >/dev/null
  if ! kubectl wait --for=condition=Ready "pod/$name" --timeout=90s >/dev/null; then
    kubectl describe pod "$name" | tail -30
    for c in sidegate-init sidegate prepare; do echo "--- $c"; kubectl logs "$name" -c $c | tail -40; done
    exit 1
  fi
  echo "$name ready after $((SECONDS - start))s"
}

# 4. What an agent sees.
agent=''
agent() { kubectl exec "$agent" -c app -- "$@"; }
http() { agent curl -sS --max-time 10 -w '\n%{http_code}' "$@"; }
api=api.default.svc.cluster.local
address=$(kubectl get service api -o 'jsonpath={.spec.clusterIP}')
udp='const s = require("dgram").createSocket("udp4");
  s.on("error", (e) => console.log(e.code));
  s.send("x", 443, "192.0.2.1", (e) => { console.log(e?.code); s.close(); });'
try_agent() { # NAME
  agent=$1
  check "$1: a read is allowed" "http GET /v1/items/7" http "http://$api/v1/items/7"
  check "$1: a read over TLS is allowed, our authority trusted" "https GET /v1/items/8" http "https://$api/v1/items/8"
  check "$1: the certificate that it sees is ours" "issuer:.*[Ss]idegate" agent curl -sSv --max-time 10 "https://$api/v1/items/9"
  check "$1: a delete is denied, with the policy's code" "no_deletes" http -X DELETE "http://$api/v1/items/7"
  check "$1: a delete over TLS is denied" "^403$" http -X DELETE "https://$api/v1/items/7"
  check "$1: an unknown name is not resolved" "Could not resolve" agent curl -sS --max-time 5 http://evil.example/
  check "$1: a literal address is refused" "403|reset|refused|Empty reply" http "http://$address/v1/items/7"
  check "$1: UDP does not leave" "not permitted|EPERM" agent node -e "$udp"
  check "$1: there is no token of the service account" "No such file" agent cat /var/run/secrets/kubernetes.io/serviceaccount/token
  check "$1: the namespace is known" "^default$" agent cat /var/run/secrets/kubernetes.io/serviceaccount/namespace
}
for dataplane in nft iptables; do
  start_agent "agent-$dataplane" --dataplane $dataplane
  try_agent "agent-$dataplane"
done
deletes_upstream() { kubectl logs api | grep -c DELETE || true; }
check "nothing denied reached the upstream" "^0$" deletes_upstream

# 5. On record, with who did it.
audit() { kubectl -n sidegate exec collector -- /usr/local/bin/node --disable-warning=ExperimentalWarning /app/dist/sidegate.js audit "$@" --db /data/audit.db; }
arrived() { audit query --json | grep -q '"pod":"default/agent-iptables".*no_deletes'; }
wait_for 15 "records" arrived || true
audit query --json >"$work/record.ndjson"
for dataplane in nft iptables; do
  pod="\"pod\":\"default/agent-$dataplane\""
  check "agent-$dataplane: the allowed request is on record" "$pod.*\"verdict\":\"allow\".*/v1/items/7" cat "$work/record.ndjson"
  check "agent-$dataplane: the denied request is on record" "$pod.*\"verdict\":\"deny\",\"code\":\"no_deletes\"" cat "$work/record.ndjson"
  check "agent-$dataplane: its init container's request is on record" "$pod.*/v1/prepare" cat "$work/record.ndjson"
done
verified() { audit verify && echo "exit 0"; }
check "the record is whole" "^exit 0$" verified

# 6. What the API server stored is what injection would make: nothing to change.
stored() { kubectl get pod agent-nft -o yaml | inject --dataplane nft --check; }
check "the stored pod is as injection makes it" "^whole: 1$" stored

# 7. The end: the pod goes within its grace period, and its last records have arrived.
start=$SECONDS
kubectl delete pod agent-nft agent-iptables --timeout=30s >/dev/null
goodbyes() { audit query --all --json | grep -c '"kind":"stop"'; }
check "both sidecars said goodbye" "^2$" goodbyes
echo "agents ended after $((SECONDS - start))s"

if [ "$(failed_checks)" -gt 0 ]; then
  tail -20 "$RUN"/*.log | tail -60 >&2 || true
  echo "smoke-node: $(failed_checks) failed"; exit 1
fi
echo "smoke-node: ok"
