# The webhook dies: agents' pods are refused, others do not notice.
kubectl -n sidegate scale deployment/sidegate-webhook --replicas=0 >/dev/null
kubectl -n sidegate wait --for=delete pod -l app.kubernetes.io/component=webhook --timeout=240s >/dev/null
check "without the webhook an agent's pod is refused" "failed calling webhook" plain_pod shop lost
check "another namespace's pod is not" "created" plain_pod default unaffected
check "agents that run go on" "http GET /v1/items/10" http python "http://$api/v1/items/10"
kubectl -n sidegate scale deployment/sidegate-controller --replicas=0 >/dev/null
kubectl -n sidegate wait --for=delete pod -l app.kubernetes.io/component=controller --timeout=240s >/dev/null
kubectl delete mutatingwebhookconfiguration/sidegate validatingwebhookconfiguration/sidegate >/dev/null
within 60000 "without the webhook's configuration too: by policies that need no server" "ValidatingAdmissionPolicy .sidegate-gateway" plain_pod shop lost
check "another namespace's pod is not" "created" plain_pod default unaffected-too
check "agents that run go on without any of it" "http GET /v1/items/11" http python "http://$api/v1/items/11"
kubectl -n sidegate scale deployment/sidegate-webhook deployment/sidegate-controller --replicas=2 >/dev/null
within 60000 "the controller puts the configurations back" "sidegate" kubectl get mutatingwebhookconfiguration/sidegate -o name
kubectl -n sidegate rollout status deployment/sidegate-webhook deployment/sidegate-controller --timeout=240s >/dev/null || true
within 60000 "and an agent's pod is injected again" "created" plain_pod shop found
check "with the gateway" "^sidegate-init sidegate$" kubectl -n shop get pod found -o 'jsonpath={.spec.initContainers[*].name}'
kubectl delete validatingadmissionpolicy sidegate-gateway >/dev/null
within 60000 "a deleted policy is back" "^validatingadmissionpolicy.*/sidegate-gateway$" kubectl get validatingadmissionpolicy sidegate-gateway -o name
figure "a deleted policy is back" 5000 60000 "$took_ms"
kubectl -n shop delete pod found --wait=false >/dev/null
kubectl delete pod unaffected unaffected-too --wait=false >/dev/null
