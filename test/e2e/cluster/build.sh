# Builds the cluster's programs from their Go modules into $BIN: ten minutes on a cold machine, nothing when they are there.
# $BIN bears the version of Kubernetes in its name; the stamp is written last.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
programs=(etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl coredns pause)
complete() {
  [ -e "$BIN/.stamp" ] || return 1
  for program in "${programs[@]}"; do [ -x "$BIN/$program" ] || return 1; done
}
complete && exit 0
command -v go >/dev/null || { say "go is missing: it builds Kubernetes $KUBERNETES from its modules"; exit 69; }
version=$(sed -n 's,^\tk8s.io/kubernetes v\([0-9.]*\).*,\1,p' "$here/kube/go.mod")
[ "$version" = "$KUBERNETES" ] || { say "kube/go.mod names Kubernetes $version, env.sh $KUBERNETES"; exit 1; }
say "building Kubernetes $KUBERNETES (about ten minutes, once)"
mkdir -p "$BIN"
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false"

IFS=. read -r _ minor _ <<<"$version"
flags="-s -w"                   # and the version: without it a component calls itself v0.0.0-master+$Format:%H$
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  flags+=" -X $package.gitVersion=v$version -X $package.gitMajor=1 -X $package.gitMinor=$minor -X $package.gitTreeState=clean"
done
(cd "$here/kube" && go build -ldflags "$flags" -o "$BIN/" tool && mv "$BIN/server" "$BIN/etcd")
(cd "$here/dns" && go build -ldflags "-s -w" -o "$BIN/coredns" .)
(cd "$here/pause" && go build -ldflags "-s -w" -o "$BIN/pause" .)
echo "kubernetes $version" >"$BIN/.stamp"
say "built after ${SECONDS}s"
