# `helm upgrade` with other options while agents work: what runs goes on under the new control plane, new pods get the new options, and
# both are inside; then back again by `helm rollback`. An older custom resource definition is brought up on the way.
kubectl -n shop exec deployment/agent-python -c app -- sh -c "nohup sh -c 'until [ -e /tmp/upgraded ]; do curl -sS --max-time 20 -o /dev/null -w \"%{http_code}\n\" http://$api/v1/upgrade; sleep 0.2; done' >/tmp/upgrade.txt 2>&1 &"
old_pods=$(kubectl -n shop get pods -l app=agent-python -o 'jsonpath={.items[*].metadata.uid}')
upgraded() { # WHAT COMMAND...: and every part of it has rolled out
  "$@" >/dev/null
  kubectl -n sidegate rollout status deployment/sidegate-webhook deployment/sidegate-controller --timeout=240s >/dev/null
  kubectl -n sidegate rollout status statefulset/sidegate-collector --timeout=240s >/dev/null
}
sidecar_request() { kubectl -n shop get pod "$1" -o 'jsonpath={.spec.initContainers[?(@.name=="sidegate")].resources.requests.cpu}'; }
# The release before: its controllers leave definitions to others, and one definition lacks a field that a target has.
crd=egresstargets.sidegate.dev
field="-o=jsonpath={.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.labels.type}"
labelled() { target later 80 none; printf '  labels: {team: shop}\n'; }
definition() { kubectl get crd $crd "$@"; }
installed=$(helm history sidegate --namespace sidegate -o json | grep -o '"revision":[0-9]*' | tail -1 | cut -d: -f2)
upgraded helm upgrade sidegate "$repository/charts/gateway" --namespace sidegate -f "$work/values.yaml" --set crds.upgrade=false
kubectl patch crd $crd --type json -p '[{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/labels"},{"op":"remove","path":"/metadata/annotations/sidegate.dev~1release"}]' >/dev/null
within 10000 "on an older definition the API server refuses a field" 'unknown field "spec.labels"' eval 'labelled | kubectl apply --dry-run=server -f -'
check "the doctor says which definition is older, and what to do" "$crd is older than this release|kubectl apply --server-side" eval 'cli doctor || true'
check "and nobody adds it" "^\$" definition "$field"
before_upgrade=$(sidecar_request "$(kubectl -n shop get pods -l app=agent-python -o 'jsonpath={.items[0].metadata.name}')")
upgraded helm upgrade sidegate "$repository/charts/gateway" --namespace sidegate -f "$work/values.yaml" --set injection.resources.sidecar.requests.cpu=33m
check "after the upgrade the definition is this release's" "^object\$" definition "$field"
check "and says of which release it is" "^[0-9]+\.[0-9]+\.[0-9]+" definition '-o=jsonpath={.metadata.annotations.sidegate\.dev/release}'
within 60000 "the field is taken" "created" eval 'labelled | kubectl apply --dry-run=server -f -'
written() { kubectl -n sidegate logs -l app.kubernetes.io/component=controller --tail=-1 | grep '"definition written"'; }
check "the controller says what it wrote" "$crd.*upgraded" written
within 30000 "and it is on record" "definition.*$crd|$crd.*definition" eval 'audit query --all --json --limit 100000 | grep "\"definition\""'
within 60000 "after the upgrade a new pod is injected" "created" plain_pod shop newer
check "with the new options" "^33m$" sidecar_request newer
kubectl -n shop wait --for=condition=Ready pod/newer --timeout=240s >/dev/null || true
within 60000 "it has its policies" "http GET /v1/items/60" kubectl -n shop exec newer -c app -- curl -sS --max-time 30 "http://$api/v1/items/60"
check "agents that ran before are the same, and go on" "^$old_pods\$" kubectl -n shop get pods -l app=agent-python -o 'jsonpath={.items[*].metadata.uid}'
policy test/e2e/full/policy.rego | sed 's/== "v1"/in {"v1", "v4"}/' | kubectl apply -f - >/dev/null
within 60000 "a policy of the new control plane acts in an old sidecar" "http GET /v4/items/61" http python "http://$api/v4/items/61"
policy test/e2e/full/policy.rego | kubectl apply -f - >/dev/null
within 60000 "and back" "http GET /v1/items/62" http python "http://$api/v1/items/62"
within 60000 "what they did meanwhile arrives at the new collector" "/v4/items/61" eval 'audit query --all --json --limit 100000 | grep -o "/v4/items/61" | head -1'
check "everybody is inside, old options or new" "inside the gate, 0 outside" eval 'cli status -n shop || true'
upgraded helm rollback sidegate "$installed" --namespace sidegate
within 60000 "rolled back, a new pod is injected" "created" plain_pod shop older
check "with the old options" "^$before_upgrade\$" sidecar_request older
agent python touch /tmp/upgraded
upgrade_answers() { agent python sort /tmp/upgrade.txt | uniq -c | tr -s ' '; }
check "no request of an agent failed meanwhile" "^ [0-9]+ 200\$" upgrade_answers
kubectl -n shop delete pod newer older --wait=false >/dev/null
