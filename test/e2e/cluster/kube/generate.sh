# generate.sh VERSION: rewrites go.mod and go.sum for another Kubernetes release (1.34.4, say).
# k8s.io/kubernetes asks for its sibling modules as v0.0.0 and replaces them by folders that are not in the
# published module; here each is replaced by the release that belongs to it.
set -euo pipefail
cd "$(dirname "$0")"
version=$1
mod=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
{
  printf 'module sidegate.dev/e2e/kube\n\ngo 1.24.0\n\ntool (\n'
  printf '\tk8s.io/kubernetes/cmd/%s\n' kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet
  printf '\tgo.etcd.io/etcd/server/v3\n)\n\nrequire k8s.io/kubernetes v%s\n\nreplace (\n' "$version"
  sed -n "s,^[[:space:]]*\(k8s.io/[a-z-]*\) => ./staging/src/.*,\t\1 => \1 v0.${version#1.},p" "$mod"
  printf ')\n'
} >go.mod
go mod tidy
