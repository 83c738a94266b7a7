# Every client makes a judged HTTPS request unchanged; also started by a parent that passes on only HOME, PATH, SHELL, TERM and USER.
# One that trusts nothing of ours fails, and that is a record and a metric of its own.
bash test/e2e/cluster/clients.sh
kubectl apply -f "$repository/test/e2e/full/clients.yaml" >/dev/null
kubectl -n shop rollout status deployment/agent-clients --timeout=240s >/dev/null || true
within 60000 "the pod of clients has its policy" "https GET /v1/first" agent clients curl -sS --max-time 30 "https://$api/v1/first"
client_names=$(bash test/e2e/clients/client --list)
full() { agent clients /clients/client "$1" "https://$api/v1/client/$1/full"; }
bare() { agent clients sh -c 'exec env -i HOME="$HOME" PATH="$PATH" SHELL=/bin/sh TERM=xterm USER=root /clients/client "$@"' sh "$1" "https://$api/v1/client/$1/bare"; }
for client in $client_names; do
  for way in full bare; do
    expected="https GET /v1/client/$client/$way"
    if [ $client = git ]; then expected="not valid: is this a git repository|invalid server response|Could not parse|dumb http"; fi
    check "$client, $way environment: answered over TLS that our authority vouches for" "$expected" $way $client
  done
done
distrusting() { # trusts an authority that is not ours, and nothing else
  kubectl -n shop exec -i deployment/agent-clients -c app -- sh -c "cat >/tmp/other.pem; curl -sS --max-time 30 --capath /nowhere --cacert /tmp/other.pem https://$api/v1/distrust" <"$PKI/ca.crt"
}
check "a client that trusts nothing of ours fails" "certificate|trust" distrusting
# Each of them judged, and on record as it was.
clients_missing() {
  audit query --all --json --limit 100000 >"$work/clients.ndjson" || true
  for client in $client_names; do for way in full bare; do
    grep -q "\"verdict\":\"allow\".*/v1/client/$client/$way" "$work/clients.ndjson" || echo "missing: $client $way"
  done; done
  echo end
}
clients_recorded() { [ "$(clients_missing)" = end ] && echo "all of them" || clients_missing; }
within 60000 "each client's request is on record, judged" "^all of them$" clients_recorded
distrust_recorded() { audit query --all --json --limit 100000 | grep -i untrusted; }
within 60000 "and the client that trusts nothing of ours, as such" "untrusted" distrust_recorded
clients_metric() { kubectl -n shop get pods -l app=agent-clients -o 'jsonpath={.items[0].status.podIP}' | xargs -I{} "${enter[@]}" curl -sS --max-time 20 "http://{}:15890/metrics"; }
check "and in the sidecar's metrics" 'tls-untrusted-by-agent"[^ ]*\} [1-9]' clients_metric
kubectl -n shop delete deployment/agent-clients --wait=false >/dev/null
