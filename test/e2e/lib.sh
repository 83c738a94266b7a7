# What the scenarios of e2e.sh and smoke-node.sh share; each of them is sourced after this file, with the cluster's settings in place.
failures=0
work=$(mktemp -d)

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
# What to look at when something failed.
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
http() { agent "$1" curl -sS --max-time 10 -w '\n%{http_code}' "${@:2}"; }
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
# plain_pod NAMESPACE NAME: an ordinary pod of an author who knows nothing of a gateway.
plain_pod() {
  kubectl -n "$1" create -f - <<EOF
apiVersion: v1
kind: Pod
metadata: {name: $2}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: app, image: "sidegate.local/agent:1", command: [sleep, infinity]}]}
EOF
}
