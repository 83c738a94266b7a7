#!/usr/bin/env bash
# Prints the path of `helm`: $SIDEGATE_HELM, else the pinned one in the cache, else one from the PATH, else built from its Go module
# (five minutes, once).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=$(sed -n 's,^.*helm\.sh/helm/v4 v\([0-9.]*\).*,\1,p' "$here/go.mod" | head -1)
helm=${XDG_CACHE_HOME:-$HOME/.cache}/sidegate/helm-$version
if [ -n "${SIDEGATE_HELM:-}" ]; then echo "$SIDEGATE_HELM"; exit; fi
if [ ! -x "$helm" ] && command -v helm >/dev/null; then command -v helm; exit; fi
if [ ! -x "$helm" ]; then
  command -v go >/dev/null || { echo "helm: neither helm nor go is installed; https://helm.sh/docs/intro/install says how to get it" >&2; exit 69; }
  echo "helm: building $version from its Go module (about five minutes, once)" >&2
  mkdir -p "$(dirname "$helm")"
  (cd "$here" && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$helm.$$" helm.sh/helm/v4/cmd/helm)
  mv "$helm.$$" "$helm"
fi
echo "$helm"
