# A deleted pod finishes what it has open within its grace period, and all its records arrive.
kubectl apply -f - >/dev/null <<EOF
apiVersion: v1
kind: Pod
metadata: {name: leaving, namespace: shop}
spec:
  terminationGracePeriodSeconds: 30
  serviceAccountName: agent
  containers:
    - name: app
      image: sidegate.local/agent:1
      command: [sh, -c, "trap : TERM; until curl -sS --fail -o /dev/null http://$api/v1/first; do sleep 0.2; done; curl -sSN --max-time 20 https://$api/v1/stream/5; echo exit \$?"]
EOF
kubectl -n shop wait --for=condition=Ready pod/leaving --timeout=240s >/dev/null
kubectl -n shop logs -f leaving -c app >"$work/leaving.log" 2>&1 &
follower=$!
within 60000 "the stream is open" "tick" cat "$work/leaving.log"
kubectl -n shop delete pod leaving --wait=false >/dev/null
wait $follower || true
check "a deleted pod finishes its open request" "https GET /v1/stream/5" cat "$work/leaving.log"
check "and its agent sees a proper end" "^exit 0$" cat "$work/leaving.log"
kubectl -n shop wait --for=delete pod/leaving --timeout=240s >/dev/null || true
leaving_record() { audit query --all --json --limit 100000 | grep '"pod":"shop/leaving' | grep '/v1/stream/5'; }
within 60000 "its record arrives" '"verdict":"allow"' leaving_record
within 60000 "with its outcome" '"status":200|"outcome"' leaving_record
