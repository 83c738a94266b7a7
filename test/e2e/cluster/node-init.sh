# The first process of the node's mount, network and PID namespaces. Killing it ends the whole node.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
mount --make-rshared /
for d in /run /var/log /var/lib/cni /etc/cni; do mkdir -p $d; mount -t tmpfs tmpfs $d; done
# The kubelet wants these kernel settings and would write them for the whole machine: it is shown files that already hold them.
mkdir /run/sysctl
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=/run/sysctl/${setting//\//_}
  echo "${setting#*=}" >"$file"; mount --bind "$file" "/proc/sys/${setting%=*}"
done
ip link set lo up
for s in ipv4/ip_forward ipv6/conf/all/forwarding bridge/bridge-nf-call-iptables bridge/bridge-nf-call-ip6tables; do
  echo 1 >/proc/sys/net/$s
done
touch "$RUN/node.ready"
while :; do sleep 3600 & wait $!; done   # bash also reaps the orphans
