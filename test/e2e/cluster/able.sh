#!/usr/bin/env bash
# Whether a node can be run on this machine: tries each thing that it needs, once, and leaves nothing. Prints what is missing, in one line,
# and then exits 1.
set -uo pipefail
PATH=$PATH:/usr/sbin:/sbin
cant() { echo "$1"; exit 1; }
[ "$(id -u)" = 0 ] || cant "needs root"
command -v go >/dev/null || cant "needs Go, which builds Kubernetes from its modules"
[ "$(uname -m)" = x86_64 ] || cant "its images are for x86_64"
unshare --mount --net --pid --fork --mount-proc true 2>/dev/null || cant "no new mount, network and PID namespaces"
unshare --mount bash -c 'mount -t tmpfs tmpfs /mnt && mkdir /mnt/{l,u,w,m} && mount -t overlay overlay -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w /mnt/m' 2>/dev/null ||
  cant "no tmpfs or overlay may be mounted"
unshare --net ip link add sg-able type veth peer name sg-able-peer 2>/dev/null || cant "no veth pair may be made"
# Every hierarchy of version 1, or the one of version 2.
groups=0
for d in /sys/fs/cgroup/ /sys/fs/cgroup/*/; do
  [ -e "$d/cgroup.procs" ] && [ ! -L "${d%/}" ] || continue
  case $d in /sys/fs/cgroup/ | */cpu/ | */memory/ | */pids/ | */devices/ | */cpuset/) ;; *) continue ;; esac
  mkdir "$d/sidegate-able-$$" 2>/dev/null && rmdir "$d/sidegate-able-$$" || cant "no control group may be made in $d"
  groups=$((groups + 1))
done
[ "$groups" -gt 0 ] || cant "there are no control groups under /sys/fs/cgroup"
