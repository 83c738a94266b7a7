# Who stands behind an agent: stamped on its Deployment and its pod, told in the record; what it was denied is an Event on the pod, and what
# is refused one on its owner.
me=$(kubectl auth whoami -o jsonpath='{.status.userInfo.username}')
kubectl -n shop get deployment agent-python -o json | sed 's/"agent-python"/"stamped"/g' |
  python3 -c '
import json, sys
o = json.load(sys.stdin)
o["metadata"] = {"name": "stamped", "namespace": "shop", "annotations": {"sidegate.dev/creator": "somebody-else", "sidegate.dev/owner": "somebody-else"}}
o.pop("status", None)
o["spec"]["template"]["metadata"].pop("annotations", None)
print(json.dumps(o))' | kubectl apply -f - >/dev/null 2>&1
kubectl -n shop rollout status deployment/stamped --timeout=240s >/dev/null
stamps() { kubectl -n shop get deployment stamped -o jsonpath='{.metadata.annotations}'; }
check "a Deployment says who made it, whatever it was told to say" "\"sidegate.dev/creator\":\"$me\"" stamps
check "and who wrote its template" "\"sidegate.dev/template-writer\":\"$me\"" stamps
owner() { echo "owner:$(kubectl -n shop get deployment stamped -o jsonpath='{.metadata.annotations.sidegate\.dev/owner}')"; }
check "an owner whom its author names is none" "^owner:$" owner
pod=$(kubectl -n shop get pods -o name | grep '/stamped-' | head -1)
check "its pod says the same" "\"sidegate.dev/workload-creator\":\"$me\"" kubectl -n shop get "$pod" -o jsonpath='{.metadata.annotations}'
check "a framework whose host no target names was told to be quiet" "CREWAI_DISABLE_TELEMETRY=true" kubectl -n shop exec "$pod" -c app -- env
check "a Java store of ours lies where a JVM looks without any option" "^-r" kubectl -n shop exec "$pod" -c app -- ls -l /etc/ssl/certs/java/cacerts
kubectl -n shop exec "$pod" -c app -- curl -sS --max-time 20 http://nobody.example/ >/dev/null 2>&1 || true
within 60000 "what it is denied is an Event on its pod, which says how to ask why" "sidegate why [a-z0-9]+-[0-9]+" kubectl -n shop get events --field-selector "involvedObject.name=${pod#pod/},reason=Denied"
by_pod() { audit query --all --json --limit 1000 | grep "\"pod\":\"shop/${pod#pod/}\""; }
within 60000 "its record names who is behind it" "\"responsible\":\"$me\"" by_pod
kubectl -n shop patch deployment stamped --type=json -p '[{"op":"add","path":"/spec/template/spec/hostNetwork","value":true}]' >/dev/null
set_events() { kubectl -n shop get events --field-selector reason=GatewayRefused; }
within 60000 "a pod that is refused is an Event on its owner" "replicaset/stamped-.*hostNetwork" set_events
kubectl -n shop delete deployment stamped --wait >/dev/null
