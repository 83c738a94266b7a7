/**
 * The redirects of Istio's sidecar, as `istio-init` and its CNI plug-in leave them in a pod (iptables-save of Istio 1.25; the nft text as its
 * `nativeNftables` writes it). Only the rules are Istio's: whoever listens behind them in these tests is a stand-in of ours.
 */
import { type Backend, FAMILIES, type Family, type Pod } from "./pod.ts";

/** Istio's proxy runs as this uid and group in every pod. */
export const ISTIO_UID = 1337;
export const ISTIO = {
  uid: ISTIO_UID,
  ports: [15_000, 15_001, 15_004, 15_006, 15_008, 15_009, 15_010, 15_012, 15_014, 15_020, 15_021, 15_053, 15_090],
} as const;
export const OUTBOUND = 15_001;
export const INBOUND = 15_006;

const SELF = { 4: "127.0.0.1/32", 6: "::1/128" } as const;
/** From where the proxy calls the application: so these connections are told from all others. */
export const MAGIC = { 4: "127.0.0.6", 6: "::6" } as const;

function iptables(family: Family): string {
  const [self, magic] = [SELF[family], `${MAGIC[family]}/${family === 4 ? 32 : 128}`];
  return `*nat
:ISTIO_INBOUND - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_REDIRECT - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp -m tcp --dport 15008 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 15090 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 15021 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 15020 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports ${INBOUND}
-A ISTIO_OUTPUT -s ${magic} -o lo -j RETURN
-A ISTIO_OUTPUT ! -d ${self} -o lo -p tcp -m tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT ! -d ${self} -o lo -p tcp -m tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d ${self} -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports ${OUTBOUND}
COMMIT
`;
}

const NFT = `table inet istio-proxy-nat {
  chain prerouting { type nat hook prerouting priority -100; meta l4proto tcp jump istio-inbound; }
  chain output { type nat hook output priority -100; jump istio-output; }
  chain istio-inbound {
    tcp dport { 15008, 15020, 15021, 15090 } return
    meta l4proto tcp jump istio-in-redirect
  }
  chain istio-redirect { meta l4proto tcp redirect to :${OUTBOUND}; }
  chain istio-in-redirect { meta l4proto tcp redirect to :${INBOUND}; }
  chain istio-output {
    oifname lo ip saddr ${MAGIC[4]} return
    oifname lo ip6 saddr ${MAGIC[6]} return
    oifname lo ip daddr != 127.0.0.1 tcp dport != 15008 meta skuid 1337 jump istio-in-redirect
    oifname lo ip6 daddr != ::1 tcp dport != 15008 meta skuid 1337 jump istio-in-redirect
    oifname lo meta skuid != 1337 return
    meta skuid 1337 return
    oifname lo meta skgid != 1337 return
    meta skgid 1337 return
    ip daddr 127.0.0.1 return
    ip6 daddr ::1 return
    jump istio-redirect
  }
}
`;

export type Redirects = Backend;

/** As Istio does it: added to what is there, whatever it is. */
export function redirectByMesh(pod: Pod, how: Redirects): void {
  if (how === "nft") return void pod.inside(["nft", "-f", "-"], NFT);
  for (const family of FAMILIES) {
    const tool = family === 4 ? how : how.replace("iptables", "ip6tables");
    pod.inside([`${tool}-restore`, "--noflush"], iptables(family));
  }
}
