# The API server is killed and comes back: agents go on, and afterwards everything acts as before.
kubectl -n shop exec deployment/agent-python -c app -- sh -c "nohup sh -c 'for i in \$(seq 60); do curl -sS --max-time 20 -o /dev/null -w \"%{http_code}\n\" http://$api/v1/steady; sleep 0.25; done' >/tmp/steady.txt 2>&1 &"
apiserver_pid=$("${enter[@]}" pgrep -x kube-apiserver)
mapfile -d '' -t apiserver_command < <("${enter[@]}" cat "/proc/$apiserver_pid/cmdline")
"${enter[@]}" kill -KILL "$apiserver_pid"
wait_for 60 "end of the API server" "${enter[@]}" bash -c "! (exec 3<>/dev/tcp/$NODE_IP/6443)"
spawn apiserver "${apiserver_command[@]}"
within 90000 "the API server is back" "^ok$" kubectl get --raw /readyz
within 60000 "agents that ran before are answered" "http GET /v1/items/30" http python "http://$api/v1/items/30"
steady() { agent python sort /tmp/steady.txt | uniq -c | tr -s ' '; }
within 60000 "an agent that asked all the while was always answered" "^ 60 200$" steady
sed 's/input.http.segments\[0\] == "v1"/input.http.segments[0] == "v3"/' test/e2e/full/policy.rego >"$work/v3.rego"
within 60000 "a policy can be changed again" "configured" eval 'policy "$work/v3.rego" | kubectl apply -f -'
within 60000 "and acts" "http GET /v3/items/31" http python "http://$api/v3/items/31"
policy test/e2e/full/policy.rego | kubectl apply -f - >/dev/null
within 60000 "and back" "http GET /v1/items/32" http python "http://$api/v1/items/32"
within 60000 "a new agent pod is injected" "created" plain_pod shop after-restart
kubectl -n shop wait --for=condition=Ready pod/after-restart --timeout=240s >/dev/null || true
check "with the gateway" "^sidegate-init sidegate$" kubectl -n shop get pod after-restart -o 'jsonpath={.spec.initContainers[*].name}'
kubectl -n shop delete pod after-restart --wait=false >/dev/null
