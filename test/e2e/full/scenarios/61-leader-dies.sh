# The leading controller is killed: what runs goes on, and twenty new pods get their policies from whoever is there.
leader() { kubectl -n sidegate get lease sidegate-controller -o 'jsonpath={.spec.holderIdentity}'; }
first_leader=$(leader)
kubectl -n shop create deployment crowd --image=sidegate.local/agent:1 --replicas=0 -- sleep infinity >/dev/null
kubectl -n shop patch deployment crowd --patch '{"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1, "serviceAccountName": "agent"}}}}' >/dev/null
kubectl -n sidegate delete pod "${first_leader%%_*}" --grace-period=0 --force >/dev/null 2>&1
kubectl -n shop scale deployment/crowd --replicas=20 >/dev/null
check "the leader is killed: agents that run go on" "http GET /v1/items/20" http python "http://$api/v1/items/20"
kubectl -n shop rollout status deployment/crowd --timeout=480s >/dev/null || true
check "20 new pods start meanwhile" "^20$" kubectl -n shop get deployment crowd -o 'jsonpath={.status.readyReplicas}'
crowd_asks() { # each of them, once
  for pod in $(kubectl -n shop get pods -l app=crowd -o 'jsonpath={.items[*].metadata.name}'); do
    kubectl -n shop exec "$pod" -c agent -- curl -sS --max-time 30 "http://$api/v1/crowd" || true
  done | grep -c "http GET /v1/crowd"
}
within 60000 "and each of them has its policies" "^20$" crowd_asks
another_leads() { [ "$(leader)" != "$first_leader" ] && leader; }
within 60000 "another one leads" "sidegate-controller" another_leads
kubectl -n shop delete deployment crowd --wait=false >/dev/null
kubectl -n shop wait --for=delete pod -l app=crowd --timeout=240s >/dev/null || true
