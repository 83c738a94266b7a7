# Installs from Debian what the cluster needs and is not there. Needs root.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
declare -A wants=([containerd]=containerd [runc]=runc [nft]=nftables [iptables]=iptables [mmdebstrap]=mmdebstrap
  [ip]=iproute2 [openssl]=openssl [nsenter]=util-linux [pgrep]=procps [prometheus]=prometheus)
missing=()
for program in "${!wants[@]}"; do
  command -v "$program" >/dev/null || missing+=("${wants[$program]}")
done
[ -e /usr/lib/cni/bridge ] || missing+=(containernetworking-plugins)
# For the packages of agents' clients and of CrewAI.
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
[ ${#missing[@]} -gt 0 ] || exit 0
say "apt-get install ${missing[*]}"
apt-get update -qq >&2
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
