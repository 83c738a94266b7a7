# Uninstalled: policies and the record stay, nothing of ours refuses anybody any more.
check "helm uninstall refuses while pods have a gateway" "failed|error" helm uninstall sidegate --namespace sidegate --timeout 90s
check "and names them" "shop/agent-node-" kubectl -n sidegate logs job/sidegate-uninstall
kubectl delete namespace shop --timeout=240s >/dev/null
check "without them it is uninstalled" "uninstalled" helm uninstall sidegate --namespace sidegate --wait --timeout 120s
check "uninstalled, the custom resources stay" "agentpolicies.sidegate.dev" kubectl get crd -o name
check "and the record's volume claim" "data-sidegate-collector-0" kubectl -n sidegate get pvc -o name
guards() { kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings -o name | grep -c sidegate; }
check "nothing of ours is asked any more" "^0$" guards
