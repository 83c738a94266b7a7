# A mesh's proxy behind the gateway (mesh.mode: chain). No mesh can be had here: its redirects are Istio's, its containers are stand-ins.
meshed_values() { # the values that say what the stand-ins look like
  cat <<'VALUES'
mesh:
  mode: chain
  images: ["sidegate.local/agent:1", "sidegate.local/sidegate-proxy:1"]
  proxy: {container: istio-proxy, args: [python3, "-c"]}
  init: {containers: [istio-init], args: [sh, "-c"]}
  environment: []
  mounts: [/var/run/secrets/kubernetes.io/serviceaccount]
VALUES
}
meshed_upgrade() {
  helm upgrade sidegate "$repository/charts/gateway" --namespace sidegate -f "$work/values.yaml" "$@" >/dev/null
  kubectl -n sidegate rollout status deployment/sidegate-webhook deployment/sidegate-controller --timeout=120s >/dev/null
}
in_meshed() { kubectl -n meshed "$@"; }
meshed() { in_meshed exec chained -c app -- "$@"; }
meshed_pod() { # SED-EXPRESSION
  sed "$1" test/e2e/full/meshed.yaml | in_meshed create -f -
}
kubectl create namespace meshed >/dev/null
kubectl label namespace meshed sidegate.dev/inject=all >/dev/null
{ target api-plain 80 none; policy test/e2e/full/policy.rego; } | sed 's/namespace: shop/namespace: meshed/' | kubectl apply -f - >/dev/null
within 20000 "a mesh in the same pod is refused by name" "Istio would redirect the same connections" meshed_pod ''

meshed_values >"$work/mesh.yaml"
meshed_upgrade -f "$work/mesh.yaml"
within 60000 "chained, the pod is made" "pod/chained created" meshed_pod ''
in_meshed wait --for=condition=Ready pod/chained --timeout=120s >/dev/null || true
check "init proves the exemption" "holds: nobody else talks to the mesh" in_meshed logs chained -c sidegate-init
within 60000 "the agent gets its answer" "http GET /v1/items/70" meshed curl -sS --max-time 10 "http://$api/v1/items/70"
check "again" "http GET /v1/items/chained-once" meshed curl -sS --max-time 10 "http://$api/v1/items/chained-once"
check "through the mesh's proxy" "^out [0-9.]+:80$" in_meshed logs chained -c istio-proxy
check "a refused one does not get there" "^403$" meshed curl -sS --max-time 10 -o /dev/null -w '%{http_code}\n' -X DELETE "http://$api/v1/items/chained-once"
meshed_records() { audit query --all --json --limit 100000 | grep -c '/v1/items/chained-once"'; }
within 60000 "both are on record, once each" "^2$" meshed_records
for port in 15000 15001 15006; do
  check "the agent does not reach the mesh's port $port" "Could ?n.t connect|Failed to connect" meshed curl -sS --max-time 5 "http://127.0.0.1:$port/"
done
check "nor anything outside but through the gateway" "403|reset|resolve" meshed curl -sS --max-time 5 -w '%{http_code}' "http://198.51.100.1/"
check "nobody executes in the mesh's proxy" "nobody goes in there" in_meshed exec chained -c istio-proxy -- id
check "another image is not the mesh" "is not among the mesh's" meshed_pod 's,sidegate.local/agent:1,evil.example/x:1,;s,name: chained,name: forged,'
check "nor may the agent run as it" "1337 is Istio's" meshed_pod 's,runAsUser: 1000,runAsUser: 1337,;s,name: chained,name: forged,'
check "status counts it" "1 pod with a chained mesh: behind the gateway its proxy goes out as uid 1337" cli status -n meshed
check "and it is inside" "1 pods? inside the gate, 0 outside" cli status -n meshed
in_meshed delete pod chained --wait=false >/dev/null
meshed_upgrade
within 60000 "back to deny, it is refused again" "Istio would redirect the same connections" meshed_pod 's,name: chained,name: later,'
kubectl delete namespace meshed --wait=false >/dev/null
