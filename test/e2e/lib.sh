# What the scenarios of e2e.sh and smoke-node.sh share; each of them is sourced after this file, with the cluster's settings in place.
work=$(mktemp -d)

# fail WHAT [MORE]: a check that failed. Counted in a file, because a scenario is a process of its own.
: >"$work/failed"
fail() { echo "$1" >>"$work/failed"; printf 'FAILED  %s\n' "$1"; [ $# -lt 2 ] || printf '        %s\n' "${2:0:8000}"; }
failed_checks() { wc -l <"$work/failed"; }
# check WHAT PATTERN COMMAND...: the command's output (both streams) has to match.
check() {
  local what=$1 pattern=$2 out; shift 2
  out=$("$@" 2>&1) || true
  if grep -qE -- "$pattern" <<<"$out"; then echo "ok      $what"; else fail "$what" "expected /$pattern/, got: $out"; fi
}
# within MS WHAT PATTERN COMMAND...: as check, but asked again until it matches; says after how long it did, also as $took_ms. The limits
# are generous, for the machine may be busy: what is a goal is a figure.
within() {
  local limit=$1 what=$2 pattern=$3 out start; shift 3
  start=$(date +%s%3N)
  while :; do
    out=$("$@" 2>&1) || true
    took_ms=$(($(date +%s%3N) - start))
    if grep -qE -- "$pattern" <<<"$out"; then echo "ok      $what (after $took_ms ms)"; return; fi
    if ((took_ms > limit)); then break; fi
    sleep 0.1
  done
  fail "$what" "expected /$pattern/ within $limit ms, got: $out"
}
# figure WHAT GOAL LIMIT MS...: the middle of several measurements. By hand it is held to the goal. With CI=true, where others may take the
# cores, only to the limit: beyond that something is broken, not slow.
figure() {
  local what=$1 goal=$2 limit=$3 bound=$2 all middle; shift 3
  [ "${CI:-}" != true ] || bound=$limit
  all=$(printf '%s\n' "$@" | sort -n | tr '\n' ' ')
  middle=$(printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p")
  if [[ $middle =~ ^[0-9]+$ ]] && ((middle <= bound)); then
    echo "figure  $what: $middle ms in the middle of $# (goal $goal, here at most $bound): $all"
  else fail "$what: $middle ms in the middle of $#, goal $goal, here at most $bound" "$all"; fi
}
# What to look at when something failed.
diagnose() {
  kubectl get pods -A -o wide
  kubectl get events -A --sort-by=.lastTimestamp | tail -40
  kubectl get nodes,agentpolicies,clusteragentpolicies,egresstargets,leases -A 2>/dev/null || true
  for what in webhook controller collector; do
    echo "--- $what"; kubectl -n sidegate logs -l app.kubernetes.io/component=$what --prefix --tail=40 || true
  done
  for pod in $(kubectl -n sidegate get pods -o name); do
    out=$(kubectl -n sidegate logs "$pod" --previous --tail=20 2>/dev/null) || continue
    echo "--- $pod, before it was started again"; echo "$out"
    kubectl -n sidegate get "$pod" -o 'jsonpath={.status.containerStatuses[*].lastState.terminated}'; echo
  done
  for pod in $(kubectl -n shop get pods -o name); do
    for c in sidegate-init sidegate; do echo "--- $pod $c"; kubectl -n shop logs "$pod" -c $c --tail=15 || true; done
  done
  for pod in $(kubectl get pods -A --field-selector=status.phase=Pending -o 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {end}'); do
    echo "--- pending: $pod"; kubectl -n "${pod%/*}" describe pod "${pod#*/}" | tail -30 || true
  done
  for log in kubelet containerd apiserver; do echo "--- the node's $log"; tail -15 "$RUN/$log.log" 2>/dev/null || true; done
  uptime
}

helm() { "${enter[@]}" "$HELM" --kubeconfig "$PKI/admin.conf" "$@"; }
# The command line as an administrator types it, with the cluster's kubeconfig.
cli() { "${enter[@]}" env KUBECONFIG="$PKI/admin.conf" "$repository/bin/sidegate" "$@"; }
# The same in the collector's own container: reads its database.
sidegate_cli() { kubectl -n sidegate exec sidegate-collector-0 -c collector -- /usr/local/bin/node --disable-warning=ExperimentalWarning /app/dist/sidegate.js "$@"; }
audit() { sidegate_cli audit "$@" --db /data/audit.db; }
verified() { audit verify && echo "exit 0"; }

# The upstream that every scenario may use, over plaintext and TLS.
api=api.default.svc.cluster.local
# agent KIND COMMAND...: in the agent's own container. http KIND CURL-ARGUMENT...: the body and the status.
agent() { kubectl -n shop exec "deployment/agent-$1" -c app -- "${@:2}"; }
http() { agent "$1" curl -sS --max-time 30 -w '\n%{http_code}' "${@:2}"; }
# target NAME PORT TLS, policy FILE: the manifest of one, in the namespace shop.
target() {
  printf -- '---\napiVersion: sidegate.dev/v1alpha1\nkind: EgressTarget\nmetadata: {name: %s, namespace: shop}\nspec:\n' "$1"
  printf '  hosts: [%s]\n  ports: [%s]\n  protocol: http\n  private: true\n  tls: %s\n' $api "$2" "$3"
  [ "$3" = none ] || { printf '  upstream:\n    ca: |\n'; sed 's/^/      /' "$PKI/ca.crt"; }
}
policy() {
  printf -- '---\napiVersion: sidegate.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: items, namespace: shop}\nspec:\n  module: |\n'
  sed 's/^/    /' "$1"
}
# opted_in NAMESPACE: the label has reached the API server's own caches of namespaces and policies: a pod would be injected.
opted_in() {
  would_inject() {
    kubectl -n "$1" create --dry-run=server -o 'jsonpath={.spec.initContainers[*].name}' -f - <<<'{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "would"}, "spec": {"containers": [{"name": "app", "image": "sidegate.local/agent:1"}]}}'
  }
  within 60000 "a pod in namespace $1 would be injected" "^sidegate-init sidegate" would_inject "$1"
}
# plain_pod NAMESPACE NAME: an ordinary pod of an author who knows nothing of a gateway.
plain_pod() {
  kubectl -n "$1" create -f - <<EOF
apiVersion: v1
kind: Pod
metadata: {name: $2}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: app, image: "sidegate.local/agent:1", command: [sleep, infinity]}]}
EOF
}
