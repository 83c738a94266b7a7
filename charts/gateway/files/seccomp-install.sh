# install.sh FROM TO: keeps TO as FROM is. Looks every half minute: a node's folder may be emptied by others.
from=$1 to=$2
trap 'exit 0' TERM INT
while :; do
  if ! cmp -s "$from" "$to"; then
    # Whole or not at all: the kubelet may read it at any moment.
    if cp -f "$from" "$to.new" && chmod 0644 "$to.new" && mv -fT "$to.new" "$to"; then
      echo "sidegate-seccomp: written: $to"
    else
      echo "sidegate-seccomp: cannot write $to" >&2
    fi
  fi
  sleep 30 &
  wait $!
done
