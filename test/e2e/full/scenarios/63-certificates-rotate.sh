# The webhook's certificate, then its authority, are renewed while pods are made without a pause: no admission fails.
made() { # makes and deletes pods until told to stop; prints what went wrong
  local n=0
  until [ -e "$work/stop-making" ]; do
    n=$((n + 1))
    kubectl -n shop create --dry-run=server -f - 2>&1 >/dev/null <<EOF || true
apiVersion: v1
kind: Pod
metadata: {name: made-$n}
spec: {containers: [{name: app, image: "sidegate.local/agent:1", command: [sleep, infinity]}]}
EOF
    echo $n >"$work/made"
  done
}
certificate() { kubectl -n sidegate get secret sidegate-certificates -o "jsonpath={.data.$1\.crt}" | base64 -d | sha256sum; }
authorities() { kubectl get mutatingwebhookconfiguration sidegate -o 'jsonpath={.webhooks[0].clientConfig.caBundle}' | base64 -d | grep -c BEGIN; }
renewed() { [ "$(certificate "$1")" != "$2" ] && echo renewed; }
# served DIGEST...: none of the webhook's replicas shows the certificate of old any more.
served() {
  local pod ip
  for pod in $(kubectl -n sidegate get pods -l app.kubernetes.io/component=webhook -o 'jsonpath={.items[*].status.podIP}'); do
    "${enter[@]}" openssl s_client -connect "$pod:8443" </dev/null 2>/dev/null | openssl x509 | cmp -s - "$1" && return 1
  done
  echo "all new"
}
made >"$work/made.txt" 2>&1 &
maker=$!
old=$(certificate tls)
kubectl -n sidegate get secret sidegate-certificates -o 'jsonpath={.data.tls\.crt}' | base64 -d | openssl x509 >"$work/old.crt"
kubectl -n sidegate annotate secret sidegate-certificates sidegate.dev/rotate=leaf >/dev/null
within 60000 "the webhook's certificate is renewed" "renewed" renewed tls "$old"
within 90000 "and every replica shows the new one" "all new" served "$work/old.crt"
# The next authority is trusted for ten minutes before anything is signed by it.
old=$(certificate ca)
kubectl -n sidegate annotate secret sidegate-certificates sidegate.dev/rotate=ca >/dev/null
within 60000 "a next authority is published beside the old one" "renewed" renewed ca "$old"
within 60000 "both are trusted" "^2$" authorities
within 60000 "pods were made all the while" "^[1-9][0-9]+$" cat "$work/made"
touch "$work/stop-making"; wait $maker || true
failed_admissions() { echo "$(cat "$work/made") made; failed: $(wc -l <"$work/made.txt")"; head -3 "$work/made.txt"; }
check "no admission failed" "failed: 0$" failed_admissions
# The authorities that the next agents would be given, asked of both replicas: what is published reaches them a moment later.
given() {
  local n
  for n in 1 2 3 4 5 6; do
    kubectl -n shop create --dry-run=server -o 'jsonpath={.spec.initContainers[?(@.name=="sidegate")].env[?(@.name=="SIDEGATE_COLLECTOR_CA")].value}' -f - <<EOF | grep -c BEGIN
apiVersion: v1
kind: Pod
metadata: {name: given}
spec: {containers: [{name: app, image: "sidegate.local/agent:1", command: [sleep, infinity]}]}
EOF
  done | sort -u | tr -d '\n'
}
within 90000 "new agents are given both" "^2$" given
# Agents know the authority that they were injected with: with a new one they are made anew, as status says.
kubectl -n shop rollout restart deployment/agent-python deployment/agent-node >/dev/null
kubectl -n shop rollout status deployment/agent-python deployment/agent-node --timeout=240s >/dev/null || true
within 60000 "agents made anew know both" "0 outside" eval 'cli status -n shop || true'
agents_left() { kubectl -n shop get pods -l 'app in (agent-python, agent-node)' -o name | wc -l; }
within 60000 "and those before are gone" "^2$" agents_left
