# What the gateway costs a pod's start, by the runtime's own timestamps (the API shows whole seconds): init's life, and the sidecar's
# from its start until it says that it serves. Five pods, one after the other.
cri_status() { # POD CONTAINER: the runtime's record of it
  local id
  id=$(kubectl -n shop get pod "$1" -o "jsonpath={.status.initContainerStatuses[?(@.name==\"$2\")].containerID}")
  cat "$RUN/containerd/io.containerd.grpc.v1.cri/containers/${id#containerd://}/status"
}
start_cost() { # POD: "INIT SIDECAR", each in ms
  python3 - "$(cri_status "$1" sidegate-init)" "$(cri_status "$1" sidegate)" \
    "$(kubectl -n shop logs "$1" -c sidegate | grep -m1 '"event":"serving"')" <<'EOF'
import datetime, json, sys
init, sidecar, serving = (json.loads(text) for text in sys.argv[1:])
at = datetime.datetime.fromisoformat(serving["time"].replace("Z", "+00:00")).timestamp()
print(round((init["FinishedAt"] - init["StartedAt"]) / 1e6), round(at * 1e3 - sidecar["StartedAt"] / 1e6))
EOF
}
for n in 1 2 3 4 5; do
  plain_pod shop start-$n >/dev/null
  kubectl -n shop wait --for=condition=Ready pod/start-$n --timeout=240s >/dev/null
  start_cost start-$n
done >"$work/start.txt"
check "each pod's start is timed by the runtime" "^5$" grep -cE '^[0-9]+ [0-9]+$' "$work/start.txt"
figure "init and sidecar of a starting pod" 1000 15000 $(awk '{print $1 + $2}' "$work/start.txt")
kubectl -n shop delete pod start-{1..5} --wait=false >/dev/null
