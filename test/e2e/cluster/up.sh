# A whole one-node cluster in namespaces of its own: control plane, containerd, kubelet, kube-proxy, DNS. Needs root.
# The node reaches nothing outside but this machine's end of the veth pair.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
if [ -e "$RUN/node.pid" ]; then say "a cluster is running already; down.sh ends it"; exit 1; fi
mkdir -p "$RUN"/{cni,kubelet,pods}
bash "$here/pki.sh"

# 1. Namespaces and a cable.
unshare --mount --net --pid --fork --mount-proc bash "$here/node-init.sh" >"$RUN/node.log" 2>&1 </dev/null &
wait_for 10 "namespaces" test -e "$RUN/node.ready"
pid=$(pgrep -P $!)
echo "$pid" >"$RUN/node.pid"
ip link add "$LINK" type veth peer name eth0 netns "$pid"
ip link set "$LINK" up
ip addr add $HOST_IP/30 dev "$LINK"
ip addr add $HOST_IP6/64 dev "$LINK" nodad
source "$here/env.sh"           # from here on, everything runs in there
"${enter[@]}" ip -batch - <<EOF
link set eth0 up
addr add $NODE_IP/30 dev eth0
addr add $NODE_IP6/64 dev eth0 nodad
route add default via $HOST_IP
route add default via $HOST_IP6
EOF

# 2. The container runtime, next to the control plane.
cat >"$RUN/cni/10-e2e.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "e2e", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$RUN/ipam",
            "ranges": [[{"subnet": "$POD_CIDR"}], [{"subnet": "$POD_CIDR6"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
EOF
cat >"$RUN/containerd.toml" <<EOF
version = 2
root = "$RUN/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$RUN/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true   # works without CAP_SYS_RESOURCE
  sandbox_image = "sidegate.local/pause:1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$RUN/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
EOF
spawn containerd containerd --config "$RUN/containerd.toml"
spawn etcd "$BIN/etcd" --data-dir "$RUN/etcd" --unsafe-no-fsync --log-level warn \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
  --initial-cluster default=http://127.0.0.1:2380
spawn apiserver "$BIN/kube-apiserver" \
  --etcd-servers http://127.0.0.1:2379 --bind-address "$NODE_IP" --secure-port 6443 \
  --tls-cert-file "$PKI/server.crt" --tls-private-key-file "$PKI/server.key" --client-ca-file "$PKI/ca.crt" \
  --kubelet-client-certificate "$PKI/admin.crt" --kubelet-client-key "$PKI/admin.key" \
  --kubelet-certificate-authority "$PKI/ca.crt" --kubelet-preferred-address-types InternalIP \
  --service-account-issuer https://kubernetes.default.svc.cluster.local \
  --service-account-key-file "$PKI/sa.pub" --service-account-signing-key-file "$PKI/sa.key" \
  --service-cluster-ip-range "$SERVICE_CIDR,$SERVICE_CIDR6" --authorization-mode Node,RBAC \
  --enable-admission-plugins NodeRestriction --allow-privileged
wait_for 90 "API server" kubectl get --raw /readyz
say "control plane ready after ${SECONDS}s"
ctr() { "${enter[@]}" ctr -a /run/containerd/containerd.sock -n k8s.io "$@"; }
wait_for 20 "containerd" ctr version
ctr images import "$IMAGES/e2e-$INDEX.image.tar" >/dev/null
say "images imported after ${SECONDS}s"

# 3. The node's agents and the controllers.
for d in /sys/fs/cgroup/ /sys/fs/cgroup/*/; do
  [ ! -e "$d/cgroup.procs" ] || mkdir -p "$d$CGROUP"
  for f in cpuset.mems cpuset.cpus; do # version 1: a new group may use nothing until told
    [ ! -e "$d$CGROUP/$f" ] || [ -n "$(cat "$d$CGROUP/$f")" ] || cat "$d/$f" >"$d$CGROUP/$f"
  done
done
cat >"$RUN/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
authentication: {x509: {clientCAFile: "$PKI/ca.crt"}}
tlsCertFile: "$PKI/server.crt"
tlsPrivateKeyFile: "$PKI/server.key"
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
clusterDomain: cluster.local
clusterDNS: [$DNS_IP]
resolvConf: ""
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi}
podLogsDir: $RUN/pods
volumePluginDir: $RUN/volume-plugins
EOF
cat >"$RUN/proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: "$PKI/proxy.conf"}
hostnameOverride: $NODE
mode: ${PROXY_MODE:-nftables}
clusterCIDR: $POD_CIDR,$POD_CIDR6
conntrack: {maxPerCore: 0}
oomScoreAdj: 0
EOF
spawn controller-manager "$BIN/kube-controller-manager" --kubeconfig "$PKI/controller-manager.conf" \
  --leader-elect=false --secure-port=0 --use-service-account-credentials \
  --root-ca-file "$PKI/ca.crt" --service-account-private-key-file "$PKI/sa.key"
spawn scheduler "$BIN/kube-scheduler" --kubeconfig "$PKI/scheduler.conf" --leader-elect=false --secure-port=0
spawn kubelet "$BIN/kubelet" --config "$RUN/kubelet.yaml" --kubeconfig "$PKI/kubelet.conf" \
  --hostname-override $NODE --node-ip $NODE_IP,$NODE_IP6 --root-dir "$RUN/kubelet" --cert-dir "$RUN/kubelet"
spawn proxy "$BIN/kube-proxy" --config "$RUN/proxy.yaml"

# 4. DNS: CoreDNS beside the kubelet, behind the usual service.
cat >"$RUN/Corefile" <<EOF
.:53 {
  bind $NODE_IP
  errors
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig $PKI/admin.conf e2e
  }
}
EOF
spawn dns "$BIN/coredns" -conf "$RUN/Corefile"
kubectl apply -f - >/dev/null <<EOF
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: $DNS_IP
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-e2e, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
endpoints: [{addresses: [$NODE_IP]}]
EOF
wait_for 60 "node" kubectl wait --for=condition=Ready node/$NODE --timeout=1s
wait_for 20 "service account" kubectl get serviceaccount default
say "node ready after ${SECONDS}s"
