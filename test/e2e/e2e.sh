#!/usr/bin/env bash
# `make e2e`: Sidegate as an administrator meets it. `helm install` on a real node, a namespace labelled, agents made anew; what they may
# do is what the namespace's policies say, also after the policies change; who did what is on record; and it stays shut when the
# webhook dies. Builds the node from Go modules where it is not in the cache, needs root, leaves nothing behind. Last line: `e2e: ok`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ "$(id -u)" = 0 ] || { echo "e2e: needs root (a node's namespaces, mounts and rules)" >&2; exit 77; }
helm=$(tools/helm/ensure.sh)
for step in deps build images; do bash "test/e2e/cluster/$step.sh"; done
source test/e2e/cluster/env.sh
work=$(mktemp -d)
failures=0
finish() {
  local code=$?
  if [ $code != 0 ] && [ -e "$RUN/node.pid" ]; then diagnose >&2 || true; fi
  bash test/e2e/cluster/down.sh; rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# check WHAT PATTERN COMMAND...: the command's output (both streams) has to match.
check() {
  local what=$1 pattern=$2 out; shift 2
  out=$("$@" 2>&1) || true
  if grep -qE -- "$pattern" <<<"$out"; then echo "ok      $what"; else
    failures=$((failures + 1)); printf 'FAILED  %s\n        expected /%s/, got: %s\n' "$what" "$pattern" "${out:0:2000}"
  fi
}
# within MS WHAT PATTERN COMMAND...: as check, but asked again until it matches; says after how long it did.
within() {
  local limit=$1 what=$2 pattern=$3 out start now; shift 3
  start=$(date +%s%3N)
  while :; do
    out=$("$@" 2>&1) || true
    now=$(($(date +%s%3N) - start))
    if grep -qE -- "$pattern" <<<"$out"; then echo "ok      $what (after $now ms)"; return; fi
    if ((now > limit)); then break; fi
    sleep 0.1
  done
  failures=$((failures + 1)); printf 'FAILED  %s\n        expected /%s/ within %s ms, got: %s\n' "$what" "$pattern" "$limit" "${out:0:2000}"
}
diagnose() {
  kubectl get pods -A -o wide
  kubectl get events -A --sort-by=.lastTimestamp | tail -30
  for what in deployment/sidegate-webhook deployment/sidegate-controller statefulset/sidegate-collector; do
    echo "--- $what"; kubectl -n sidegate logs "$what" --tail=30
  done
  for pod in $(kubectl -n shop get pods -o name); do
    for c in sidegate-init sidegate; do echo "--- $pod $c"; kubectl -n shop logs "$pod" -c $c --tail=15; done
  done
}

bash test/e2e/cluster/up.sh
source test/e2e/cluster/env.sh
helm() { "${enter[@]}" "$helm" --kubeconfig "$PKI/admin.conf" "$@"; }
sidegate_cli() { kubectl -n sidegate exec sidegate-collector-0 -c collector -- /usr/local/bin/node --disable-warning=ExperimentalWarning /app/dist/sidegate.js "$@"; }
audit() { sidegate_cli audit "$@" --db /data/audit.db; }

# 1. An upstream, and agents that run already.
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$work/tls.key" -subj /CN=api -out "$work/csr" 2>/dev/null
openssl x509 -req -in "$work/csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -days 2 \
  -extfile <(echo "subjectAltName=DNS:api.default.svc.cluster.local") -out "$work/tls.crt" 2>/dev/null
kubectl create secret tls api-tls --cert "$work/tls.crt" --key "$work/tls.key" >/dev/null
kubectl create namespace shop >/dev/null
kubectl -n shop create serviceaccount agent >/dev/null
kubectl apply -f "$repository/test/e2e/smoke/api.yaml" -f "$repository/test/e2e/full/agents.yaml" >/dev/null
kubectl wait --for=condition=Ready pod/api --timeout=60s >/dev/null
kubectl -n shop rollout status deployment/agent-python deployment/agent-node --timeout=60s >/dev/null

# 2. The chart. The record's volume is a folder of the node.
install -d -o 65532 -g 65532 "$RUN/record"
kubectl apply -f - >/dev/null <<EOF
apiVersion: v1
kind: PersistentVolume
metadata: {name: record}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: e2e
  hostPath: {path: "$RUN/record"}
EOF
cat >"$work/values.yaml" <<EOF
images: {registry: sidegate.local, allowTags: true, proxy: {tag: "1"}, control: {tag: "1"}}
cluster: {name: e2e}
collector: {storage: {className: e2e, size: 1Gi}}
EOF
start=$SECONDS
helm install sidegate "$repository/charts/gateway" --namespace sidegate --create-namespace -f "$work/values.yaml" >"$work/notes.txt"
check "the notes say what to do next" "kubectl label namespace NAME sidegate.dev/inject=all" cat "$work/notes.txt"
kubectl -n sidegate rollout status deployment/sidegate-webhook deployment/sidegate-controller --timeout=120s >/dev/null
kubectl -n sidegate rollout status statefulset/sidegate-collector --timeout=60s >/dev/null
echo "installed after $((SECONDS - start))s"
check "helm test passes" "Phase: +Succeeded" helm test sidegate --namespace sidegate
check "a pod in a namespace that has not opted in is as it was" "^app$" kubectl -n shop get pods -l app=agent-node -o 'jsonpath={.items[0].spec.containers[*].name}'

# 3. The namespace opts in; its agents are made anew.
kubectl label namespace shop sidegate.dev/inject=all >/dev/null
sleep 1 # the API server's own caches of namespaces and policies
kubectl -n shop rollout restart deployment/agent-python deployment/agent-node >/dev/null
{ kubectl -n shop rollout status deployment/agent-python deployment/agent-node --timeout=120s >/dev/null; } || true
for kind in python node; do
  check "agent-$kind is injected" "^sidegate-init sidegate( prepare)?$" kubectl -n shop get pods -l app=agent-$kind --sort-by=.metadata.creationTimestamp -o 'jsonpath={.items[-1:].spec.initContainers[*].name}'
done

# 4. Without a policy nothing goes; with one, what it says.
api=api.default.svc.cluster.local
agent() { kubectl -n shop exec "deployment/agent-$1" -c app -- "${@:2}"; }
http() { agent "$1" curl -sS --max-time 10 -w '\n%{http_code}' "${@:2}"; }
check "without a policy nothing goes" "403|Could not resolve|reset" http python "http://$api/v1/items/0"
target() { # NAME PORT TLS
  printf -- '---\napiVersion: sidegate.dev/v1alpha1\nkind: EgressTarget\nmetadata: {name: %s, namespace: shop}\nspec:\n' "$1"
  printf '  hosts: [%s]\n  ports: [%s]\n  protocol: http\n  private: true\n  tls: %s\n' $api "$2" "$3"
  [ "$3" = none ] || { printf '  upstream:\n    ca: |\n'; sed 's/^/      /' "$PKI/ca.crt"; }
}
policy() { # FILE
  printf -- '---\napiVersion: sidegate.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: items, namespace: shop}\nspec:\n  module: |\n'
  sed 's/^/    /' "$1"
}
{ target api 443 inspect; target api-plain 80 none; policy test/e2e/full/policy.rego; } | kubectl apply -f - >/dev/null
within 15000 "the policy is ready" "^True$" kubectl -n shop get agentpolicy items -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
within 15000 "the policy is in force" "http GET /v1/items/1" http python "http://$api/v1/items/1"
within 15000 "also for the other agent" "http GET /v1/items/1" http node "http://$api/v1/items/1"
for kind in python node; do
  check "$kind: a read is allowed" "http GET /v1/items/7" http $kind "http://$api/v1/items/7"
  check "$kind: a read over TLS is allowed, our authority trusted" "https GET /v1/items/8" http $kind "https://$api/v1/items/8"
  check "$kind: a delete is denied, with the policy's code" "no_deletes" http $kind -X DELETE "http://$api/v1/items/7"
  check "$kind: a delete over TLS is denied" "^403$" http $kind -X DELETE "https://$api/v1/items/7"
  check "$kind: an unknown name is not resolved" "Could not resolve" agent $kind curl -sS --max-time 5 http://evil.example/
done
fetch='fetch(process.argv[1]).then(async (a) => console.log(await a.text()), (e) => console.log(String(e.cause ?? e)))'
check "node's own fetch trusts our authority" "https GET /v1/fetch" agent node node -e "$fetch" "https://$api/v1/fetch"
ssl='import socket, ssl, sys
c = ssl.create_default_context().wrap_socket(socket.create_connection((sys.argv[1], 443), 10), server_hostname=sys.argv[1])
c.sendall(b"GET /v1/ssl HTTP/1.1\r\nHost: " + sys.argv[1].encode() + b"\r\nConnection: close\r\n\r\n")
print(c.makefile("rb").read().decode())'
check "Python's own ssl trusts our authority" "https GET /v1/ssl" agent python python3 -c "$ssl" $api
sed 's/input.action == "read"/input.action = = 1/' test/e2e/full/policy.rego >"$work/wrong.rego"
wrong() { policy "$work/wrong.rego" | kubectl apply -f - || true; kubectl -n shop get agentpolicy items -o yaml; }
within 10000 "a wrong policy is refused, with its line" "items\.rego:[0-9]+|:[0-9]+: rego_" wrong
check "what was in force stays" "http GET /v1/items/7" http python "http://$api/v1/items/7"

# 5. A changed policy acts without a restart.
sed 's/input.http.segments\[0\] == "v1"/input.http.segments[0] == "v2"/' test/e2e/full/policy.rego >"$work/changed.rego"
policy "$work/changed.rego" | kubectl apply -f - >/dev/null
within 10000 "a changed policy acts without a restart" "^403$" http python "http://$api/v1/items/9"
check "and what it allows goes" "http GET /v2/items/9" http python "http://$api/v2/items/9"
policy test/e2e/full/policy.rego | kubectl apply -f - >/dev/null
within 10000 "and back" "http GET /v1/items/9" http python "http://$api/v1/items/9"

# 6. A Job ends.
kubectl apply -f "$repository/test/e2e/full/job.yaml" >/dev/null
check "a Job ends" "condition met" kubectl -n shop wait --for=condition=Complete job/errand --timeout=60s

# 7. On record, with who did it.
arrived() { audit query --json --limit 1000 | grep -q '"pod":"shop/errand-.*/v1/errand'; }
wait_for 30 "records" arrived || true
audit query --all --json --limit 100000 >"$work/record.ndjson" || true
check "the allowed request is on record, with its pod" '"pod":"shop/agent-python-.*"verdict":"allow".*/v1/items/7' cat "$work/record.ndjson"
check "the denied request is on record, with the policy's code" '"pod":"shop/agent-node-.*"verdict":"deny","code":"no_deletes"' cat "$work/record.ndjson"
check "the Job's request is on record" '"pod":"shop/errand-' cat "$work/record.ndjson"
check "with its service account" '"serviceAccount":"agent"' cat "$work/record.ndjson"
check "with who made the pod" '"creator":"system:serviceaccount:kube-system:replicaset-controller"' cat "$work/record.ndjson"
check "with its owner" '"owner":"ReplicaSet/agent-python-' cat "$work/record.ndjson"
verified() { audit verify && echo "exit 0"; }
check "the record is whole" "^exit 0$" verified

# 8. What a record takes on disk (docs/sizing.md).
on_disk() { kubectl -n sidegate exec sidegate-collector-0 -c collector -- sh -c 'cat /data/audit.db /data/audit.db-wal 2>/dev/null | wc -c'; }
before=$(on_disk)
agent python curl -sS -o /dev/null --max-time 120 "http://$api/v1/items/[1-2000]"
two_thousand() { audit query --json --limit 1 | grep '/v1/items/2000"'; }
within 60000 "2,000 requests arrive" "items/2000" two_thousand
echo "$((($(on_disk) - before) / 2000)) bytes of the collector's volume a request"

# 9. The webhook dies: agents' pods are refused, others do not notice.
plain_pod() { # NAMESPACE NAME
  kubectl -n "$1" create -f - <<EOF
apiVersion: v1
kind: Pod
metadata: {name: $2}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: app, image: "sidegate.local/agent:1", command: [sleep, infinity]}]}
EOF
}
kubectl -n sidegate scale deployment/sidegate-webhook --replicas=0 >/dev/null
kubectl -n sidegate wait --for=delete pod -l app.kubernetes.io/component=webhook --timeout=60s >/dev/null
check "without the webhook an agent's pod is refused" "failed calling webhook" plain_pod shop lost
check "another namespace's pod is not" "created" plain_pod default unaffected
check "agents that run go on" "http GET /v1/items/10" http python "http://$api/v1/items/10"
kubectl -n sidegate scale deployment/sidegate-controller --replicas=0 >/dev/null
kubectl -n sidegate wait --for=delete pod -l app.kubernetes.io/component=controller --timeout=60s >/dev/null
kubectl delete mutatingwebhookconfiguration/sidegate validatingwebhookconfiguration/sidegate >/dev/null
within 10000 "without the webhook's configuration too: by policies that need no server" "ValidatingAdmissionPolicy .sidegate-gateway" plain_pod shop lost
check "another namespace's pod is not" "created" plain_pod default unaffected-too
check "agents that run go on without any of it" "http GET /v1/items/11" http python "http://$api/v1/items/11"
kubectl -n sidegate scale deployment/sidegate-webhook deployment/sidegate-controller --replicas=2 >/dev/null
within 60000 "the controller puts the configurations back" "sidegate" kubectl get mutatingwebhookconfiguration/sidegate -o name
kubectl -n sidegate rollout status deployment/sidegate-webhook deployment/sidegate-controller --timeout=60s >/dev/null || true
within 30000 "and an agent's pod is injected again" "created" plain_pod shop found
check "with the gateway" "^sidegate-init sidegate$" kubectl -n shop get pod found -o 'jsonpath={.spec.initContainers[*].name}'
kubectl delete validatingadmissionpolicy sidegate-gateway >/dev/null
within 5000 "a deleted policy is back within 5 s" "sidegate-gateway" kubectl get validatingadmissionpolicy sidegate-gateway -o name

# 10. The collector dies: its records come when it is back, once.
kubectl -n sidegate delete pod sidegate-collector-0 --wait=false >/dev/null
check "agents go on while the collector is away" "http GET /v1/items/12" http python "http://$api/v1/items/12"
kubectl -n sidegate rollout status statefulset/sidegate-collector --timeout=60s >/dev/null || true
kubectl -n sidegate wait --for=condition=Ready pod/sidegate-collector-0 --timeout=60s >/dev/null || true
twelve() { audit query --all --json --limit 100000 | grep -c '/v1/items/12"'; }
within 30000 "what happened meanwhile is on record, once" "^1$" twelve
check "the record is whole" "^exit 0$" verified

# 11. Uninstalled: policies and the record stay, nothing of ours refuses anybody any more.
check "helm uninstall refuses while pods have a gateway" "failed|error" helm uninstall sidegate --namespace sidegate --timeout 90s
check "and names them" "shop/agent-node-" kubectl -n sidegate logs job/sidegate-uninstall
kubectl delete namespace shop --timeout=60s >/dev/null
check "without them it is uninstalled" "uninstalled" helm uninstall sidegate --namespace sidegate --wait --timeout 120s
check "uninstalled, the custom resources stay" "agentpolicies.sidegate.dev" kubectl get crd -o name
check "and the record's volume claim" "data-sidegate-collector-0" kubectl -n sidegate get pvc -o name
guards() { kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings -o name | grep -c sidegate; }
check "nothing of ours is asked any more" "^0$" guards

if [ $failures -gt 0 ]; then
  echo "e2e: $failures failed"; exit 1
fi
echo "e2e: ok"
