# Ends the node and removes what it left. Twice is as good as once.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
if [ -e "$RUN/node.pid" ]; then
  pid=$(cat "$RUN/node.pid")
  # The file may be older than this boot of the machine: only a process of ours is ended.
  if grep -q node-init.sh "/proc/$pid/cmdline" 2>/dev/null && kill -KILL "$pid"; then wait_for 20 "end of the node" bash -c "! kill -0 $pid"; fi
fi
ip link del "$LINK" 2>/dev/null || true
for d in /sys/fs/cgroup/*/"$CGROUP" /sys/fs/cgroup/"$CGROUP"; do
  [ ! -e "$d" ] || find "$d" -depth -type d -exec rmdir {} + 2>/dev/null || true
done
rm -rf "$STATE"
