# Makes the image of a real PostgreSQL (Debian's, server and psql) and imports it into the running node as sidegate.local/postgres:1.
# Only the scenario that needs it asks for it.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
packages=ca-certificates,postgresql-15
made=$IMAGES/postgres-$(cat "$here/archive.sh" <(echo $packages) | sha256sum | cut -c1-12).image.tar
if [ ! -e "$made" ]; then
  source "$here/archive.sh"
  base postgres $packages
  image postgres 0 '["sleep", "infinity"]' postgres-base
  rm -f "$IMAGES"/postgres-*.image.tar
  finish_archive "$made"
fi
[ ${#enter[@]} -gt 0 ] || exit 0
"${enter[@]}" ctr -a /run/containerd/containerd.sock -n k8s.io images import "$made" >/dev/null
say "PostgreSQL's image there after ${SECONDS}s"
