#!/usr/bin/env bash
# tools/go-tool.sh NAME: prints the path of the program that tools/NAME/go.mod pins: of its `tool` line, else of the package beside it.
# Built from its Go module where it is not in the cache yet (go.sum says what may be built, nothing is resolved anew); the cache is outside
# the repository, by what the program is made of.
set -euo pipefail
name=$1
cd "$(dirname "${BASH_SOURCE[0]}")/$name"
package=$(sed -n 's/^tool //p' go.mod)
shopt -s nullglob
program=${XDG_CACHE_HOME:-$HOME/.cache}/sidegate/$name-$(cat go.mod go.sum ./*.go | sha256sum | cut -c1-12)
if [ ! -x "$program" ]; then
  command -v go >/dev/null || { echo "$name: go is missing: it builds ${package:-tools/$name} from its modules" >&2; exit 69; }
  echo "$name: building it from its Go modules (once)" >&2
  mkdir -p "$(dirname "$program")"
  CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -ldflags='-s -w' -o "$program.$$" "${package:-.}"
  mv "$program.$$" "$program"
fi
echo "$program"
