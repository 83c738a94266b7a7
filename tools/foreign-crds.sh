#!/usr/bin/env bash
# Prints the folder with other software's custom resource definitions, as it ships them: out of the Go modules that tools/cert-manager and
# tools/prometheus-operator pin (go.sum says what they are), in the cache. For tests that apply our objects of those kinds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
folder=${XDG_CACHE_HOME:-$HOME/.cache}/sidegate/foreign-crds-$(cat cert-manager/go.sum prometheus-operator/go.sum | sha256sum | cut -c1-12)
if [ ! -d "$folder" ]; then
  command -v go >/dev/null || { echo "foreign-crds: go is missing: it fetches the modules that have them" >&2; exit 69; }
  module() { (cd "$1" && GOFLAGS=-mod=readonly go mod download -json "$2" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'); }
  certificates=$(module cert-manager github.com/cert-manager/cert-manager)
  monitoring=$(module prometheus-operator github.com/prometheus-operator/prometheus-operator)
  mkdir -p "$folder.$$"
  cp "$certificates"/deploy/crds/*.yaml "$folder.$$/"
  cp "$monitoring"/example/prometheus-operator-crd/*.yaml "$folder.$$/"
  chmod -R u+w "$folder.$$"
  mv "$folder.$$" "$folder"
fi
echo "$folder"
