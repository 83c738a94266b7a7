# Settings and functions of the cluster's scripts; each of them sources this file. State and programs live in a cache outside the
# repository; everything that runs lives in one mount, network and PID namespace, so ending its first process ends it all.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../../.." && pwd)
PATH=$PATH:/usr/sbin:/sbin

KUBERNETES=1.34.4               # as in kube/go.mod; another one: kube/generate.sh VERSION
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/sidegate
BIN=$CACHE/kube-$KUBERNETES     # what build.sh makes
IMAGES=$CACHE/images            # what images.sh makes
STATE=${SIDEGATE_CLUSTER:-$CACHE/cluster}
INDEX=${SIDEGATE_CLUSTER_INDEX:-0} # 0 to 9: clusters that run at the same time each have a folder (SIDEGATE_CLUSTER) and an index
[[ $INDEX =~ ^[0-9]$ ]] || { echo "SIDEGATE_CLUSTER_INDEX: 0 to 9, not $INDEX" >&2; exit 64; }
RUN=$STATE/run
PKI=$STATE/pki

NODE=e2e-node
LINK=sg-e2e$INDEX                    # our end of the veth pair
HOST_IP=10.88.76.$((4 * INDEX + 1)) HOST_IP6=fd88:76:$INDEX::1
NODE_IP=10.88.76.$((4 * INDEX + 2)) NODE_IP6=fd88:76:$INDEX::2
CGROUP=sidegate-e2e-$INDEX      # kubelets that share a root end each other's pods
POD_CIDR=10.88.77.0/24 POD_CIDR6=fd88:77::/64
SERVICE_CIDR=10.96.0.0/16 SERVICE_CIDR6=fd88:96::/112
API_IP=10.96.0.1 DNS_IP=10.96.0.10
API=https://$NODE_IP:6443

# Prefix that runs a command inside the node's namespaces, when there is a node.
enter=()
if [ -e "$RUN/node.pid" ]; then enter=(nsenter -t "$(cat "$RUN/node.pid")" -m -n -p --); fi

say() { printf 'cluster: %s\n' "$*" >&2; }

# spawn NAME COMMAND...: starts it inside the node, its log in $RUN/NAME.log. It ends with the node.
spawn() {
  local name=$1; shift
  "${enter[@]}" "$@" >"$RUN/$name.log" 2>&1 </dev/null &
}

# wait_for SECONDS WHAT COMMAND...: polls until the command succeeds.
wait_for() {
  local end=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= end)); then say "timed out: $what"; return 1; fi
    sleep 0.2
  done
}

kubectl() { "${enter[@]}" "$BIN/kubectl" --kubeconfig "$PKI/admin.conf" "$@"; }
