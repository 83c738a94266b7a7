# Writes images as one archive that `ctr` imports, from layers that are folders or minimal Debians. Sourced, with $work a folder of the
# caller's that it removes.
archive=$work/archive; mkdir "$archive"

# base NAME PACKAGES: a minimal Debian, made once for each list of packages.
base() {
  local file
  file=$IMAGES/$1-$(sha256sum <<<"$2" | cut -c1-12).base.tar
  if [ ! -e "$file" ]; then
    say "Debian for the $1 image (about a minute, once)"
    # Java's package makes links among the manual pages that are left out.
    mmdebstrap --quiet --variant=minbase --include="$2" --setup-hook='mkdir -p "$1/usr/share/man/man1"' --dpkgopt='path-exclude=/usr/share/man/*' \
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

# finish_archive FILE: the images so far.
finish_archive() {
  echo "[${images:1}]" >"$archive/manifest.json"
  tar -C "$archive" --dereference -cf "$work/out.image.tar" manifest.json $(cd "$archive" && ls | grep -v '^manifest.json$')
  mv "$work/out.image.tar" "$1"
}
