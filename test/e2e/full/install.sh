# An installation by the chart, a namespace that opts in, its agents made anew, and a first policy: what every scenario counts on.
# 1. An upstream, and agents that run already.
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$work/tls.key" -subj /CN=api -out "$work/csr" 2>/dev/null
openssl x509 -req -in "$work/csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -days 2 \
  -extfile <(echo "subjectAltName=DNS:api.default.svc.cluster.local") -out "$work/tls.crt" 2>/dev/null
kubectl create secret tls api-tls --cert "$work/tls.crt" --key "$work/tls.key" >/dev/null
kubectl create namespace shop >/dev/null
kubectl -n shop create serviceaccount agent >/dev/null
kubectl apply -f "$repository/test/e2e/smoke/api.yaml" -f "$repository/test/e2e/full/agents.yaml" >/dev/null
kubectl wait --for=condition=Ready pod/api --timeout=240s >/dev/null
kubectl -n shop rollout status deployment/agent-python deployment/agent-node --timeout=240s >/dev/null

# 2. The chart. The record's volume is a folder of the node, in memory.
install -d "$RUN/record"
"${enter[@]}" mount -t tmpfs -o size=256m,uid=65532,gid=65532,mode=700 tmpfs "$RUN/record" # small, so that it can be filled
kubectl apply -f - >/dev/null <<EOF
apiVersion: v1
kind: PersistentVolume
metadata: {name: record}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: e2e
  hostPath: {path: "$RUN/record"}
EOF
cat >"$work/values.yaml" <<EOF
images: {registry: sidegate.local, allowTags: true, proxy: {tag: "1"}, control: {tag: "1"}}
cluster: {name: e2e}
credentials: {namespaces: [{name: shop, secrets: [orders-db, login-client]}]}
collector: {storage: {className: e2e, size: 1Gi}}
# This node's runtime lets containers make AF_VSOCK sockets: its agents get the profile of ours, laid there by the chart's own means.
injection: {seccomp: {type: Localhost}}
seccompInstaller: {enabled: true, kubeletFolder: "$RUN/kubelet/seccomp"}
EOF
start=$SECONDS
helm install sidegate "$repository/charts/gateway" --namespace sidegate --create-namespace -f "$work/values.yaml" >"$work/notes.txt"
check "the notes say what to do next" "kubectl label namespace NAME sidegate.dev/inject=all" cat "$work/notes.txt"
kubectl -n sidegate rollout status deployment/sidegate-webhook deployment/sidegate-controller --timeout=240s >/dev/null
kubectl -n sidegate rollout status statefulset/sidegate-collector --timeout=240s >/dev/null
kubectl -n sidegate rollout status daemonset/sidegate-seccomp --timeout=240s >/dev/null
echo "installed after $((SECONDS - start))s"
check "helm test passes" "Phase: +Succeeded" helm test sidegate --namespace sidegate
check "a pod in a namespace that has not opted in is as it was" "^app$" kubectl -n shop get pods -l app=agent-node -o 'jsonpath={.items[0].spec.containers[*].name}'

# 3. The namespace opts in; its agents are made anew.
kubectl label namespace shop sidegate.dev/inject=all >/dev/null
opted_in shop
outside() { cli status -n shop || true; }
for kind in python node; do
  check "agent-$kind, which ran before the label, is named as outside" "shop/agent-$kind-.*made before" outside
done
kubectl -n shop rollout restart deployment/agent-python deployment/agent-node >/dev/null
{ kubectl -n shop rollout status deployment/agent-python deployment/agent-node --timeout=240s >/dev/null; } || true
for kind in python node; do
  check "agent-$kind is injected" "^sidegate-init sidegate( prepare)?$" kubectl -n shop get pods -l app=agent-$kind --sort-by=.metadata.creationTimestamp -o 'jsonpath={.items[-1:].spec.initContainers[*].name}'
done

within 60000 "made anew, nobody is outside" "2 pods inside the gate, 0 outside" outside

# 4. Without a policy nothing goes; with one, what it says.
check "without a policy nothing goes" "403|Could not resolve|reset" http python "http://$api/v1/items/0"
{ target api 443 inspect; target api-plain 80 none; policy test/e2e/full/policy.rego; } | kubectl apply -f - >/dev/null
within 60000 "the policy is ready" "^True$" kubectl -n shop get agentpolicy items -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
within 60000 "the policy is in force" "http GET /v1/items/1" http python "http://$api/v1/items/1"
within 60000 "also for the other agent" "http GET /v1/items/1" http node "http://$api/v1/items/1"
