#!/usr/bin/env bash
# tools/go-tool.sh NAME: prints the path of the program that tools/NAME/go.mod pins by its `tool` line, cached outside the repository by
# its version, built from its Go module where it is not there yet (go.sum says what may be built, and nothing is resolved anew).
set -euo pipefail
name=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/$name" && pwd)
package=$(sed -n 's/^tool //p' "$here/go.mod")
version=$(awk -v package="$package" '$2 ~ /^v/ && index(package "/", $1 "/") == 1 { print $2 }' "$here/go.mod")
program=${XDG_CACHE_HOME:-$HOME/.cache}/sidegate/$name-${version#v}
if [ ! -x "$program" ]; then
  command -v go >/dev/null || { echo "$name: go is missing: it builds $package $version from its module" >&2; exit 69; }
  echo "$name: building $version from its Go module (once)" >&2
  mkdir -p "$(dirname "$program")"
  (cd "$here" && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -ldflags='-s -w' -o "$program.$$" "$package")
  mv "$program.$$" "$program"
fi
echo "$program"
