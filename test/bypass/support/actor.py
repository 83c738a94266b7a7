"""One process of a scenario: does what it is told, one JSON line in, one JSON line out, so that steps of several processes
have an order and nothing has to be waited for by the clock. Refusals of the kernel are answers, by the name of their errno."""
import errno, fcntl, json, os, select, socket, struct, subprocess, sys

SOCKETS = {}
LIMIT_S = 5.0
FAMILY = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "unix": socket.AF_UNIX, "packet": 17, "vsock": 40,
          "netlink": 16, "alg": 38, "tipc": 30, "rds": 21, "bluetooth": 31, "xdp": 44, "kcm": 41, "can": 29, "ax25": 3,
          "x25": 9, "llc": 26, "phonet": 35, "ieee802154": 36, "smc": 43, "qipcrtr": 42, "pppox": 24, "key": 15}
TYPE = {"stream": 1, "datagram": 2, "raw": 3, "seqpacket": 5, "dccp": 6}
SO_ORIGINAL_DST = 80


def code(fault):
    if isinstance(fault, (socket.timeout, TimeoutError)) and fault.errno is None:
        return "TIMEOUT"
    return errno.errorcode.get(fault.errno, str(fault)) if getattr(fault, "errno", None) else str(fault)


def where(address):
    return tuple(address) if isinstance(address, list) else address


def original(sock):
    try:
        if sock.family == socket.AF_INET6:
            raw = sock.getsockopt(41, SO_ORIGINAL_DST, 28)
            return [socket.inet_ntop(socket.AF_INET6, raw[8:24]), struct.unpack("!H", raw[2:4])[0]]
        raw = sock.getsockopt(0, SO_ORIGINAL_DST, 16)
        return [socket.inet_ntop(socket.AF_INET, raw[4:8]), struct.unpack("!H", raw[2:4])[0]]
    except OSError:
        return None


def op_socket(name, family="inet", type="stream", proto=0):
    SOCKETS[name] = socket.socket(FAMILY.get(family, family), TYPE.get(type, type), proto)
    SOCKETS[name].settimeout(LIMIT_S)
    if family == "inet6" and type in ("stream", "datagram") and proto in (0, 6, 17, 262):
        SOCKETS[name].setsockopt(41, 26, 1)  # IPV6_V6ONLY: 127.0.0.1 and :: are two things


def op_option(name, level, option, value):
    SOCKETS[name].setsockopt(level, option, value.encode() if isinstance(value, str) else value)


def op_option_hex(name, level, option, value):
    SOCKETS[name].setsockopt(level, option, bytes.fromhex(value))


def op_bind(name, address):
    SOCKETS[name].bind(where(address))
    return {"address": list(SOCKETS[name].getsockname()[:2])}


def op_connect(name, address):
    SOCKETS[name].connect(where(address))
    return {"from": list(SOCKETS[name].getsockname()[:2])}


def op_connect_begin(name, address):
    """Starts a handshake and does not wait for it."""
    SOCKETS[name].setblocking(False)
    result = SOCKETS[name].connect_ex(where(address))
    if result not in (0, errno.EINPROGRESS):
        raise OSError(result, os.strerror(result))


def op_connected(name):
    """Whether a handshake that was started is through by now."""
    writable = select.select([], [SOCKETS[name]], [], 0)[1]
    return {"connected": bool(writable) and SOCKETS[name].getsockopt(1, socket.SO_ERROR) == 0}


def op_listen(name, backlog=16):
    SOCKETS[name].listen(backlog)


def op_accept(name, to):
    sock, peer = SOCKETS[name].accept()
    sock.settimeout(LIMIT_S)
    SOCKETS[to] = sock
    return {"peer": list(peer[:2]), "original": original(sock)}


def op_pending(name):
    """Whether something waits to be read or accepted, now."""
    return {"pending": bool(select.select([SOCKETS[name]], [], [], 0)[0])}


def op_send(name, data="", size=None, flags=0):
    payload = data.encode() if size is None else b"z" * size
    if size is None:
        return {"sent": SOCKETS[name].send(payload, flags)}
    SOCKETS[name].sendall(payload)
    return {"sent": size}


def op_sendto(name, data, address, flags=0):
    return {"sent": SOCKETS[name].sendto(data.encode(), flags, where(address))}


def op_sendto_hex(name, data, address):
    return {"sent": SOCKETS[name].sendto(bytes.fromhex(data), where(address))}


def op_sendmsg(name, data, address, level, option, hex):
    return {"sent": SOCKETS[name].sendmsg([data.encode()], [(level, option, bytes.fromhex(hex))], 0, where(address))}


def op_recv(name, size=65536):
    return {"data": SOCKETS[name].recv(size).decode("latin-1")}


def op_recvfrom(name):
    data, peer = SOCKETS[name].recvfrom(65536)
    return {"data": data.decode("latin-1"), "from": list(peer[:2])}


def op_drain(name, limit=None):
    """Reads to the end of the stream, or `limit` bytes."""
    total = 0
    while limit is None or total < limit:
        got = len(SOCKETS[name].recv(65536))
        if got == 0:
            break
        total += got
    return {"bytes": total}


def op_shutdown(name):
    SOCKETS[name].shutdown(socket.SHUT_WR)


def op_close(name):
    SOCKETS.pop(name).close()


def op_getsockname(name):
    return {"address": list(SOCKETS[name].getsockname()[:2])}


def op_sniff(name, device):
    """Everything that arrives on a device, and nothing that we send ourselves."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.bind((device, 0))
    sock.settimeout(LIMIT_S)
    sock.setsockopt(1, socket.SO_RCVBUF, 8 << 20)
    SOCKETS[name] = sock


def op_sniffed(name, until):
    """The packets up to the one that carries `until`, as text; ARP and IPv6 housekeeping of the kernel left out."""
    seen = []
    while True:
        frame, (_, _, kind, _, _) = SOCKETS[name].recvfrom(65536)
        if kind == socket.PACKET_OUTGOING:
            continue
        line = describe(frame)
        if until.encode() in frame:
            return {"packets": seen}
        if line is not None:
            seen.append(line)


def describe(frame):
    kind = struct.unpack("!H", frame[12:14])[0]
    body = frame[14:]
    if kind == 0x0800:
        head = (body[0] & 15) * 4
        proto, src, dst = body[9], socket.inet_ntop(2, body[12:16]), socket.inet_ntop(2, body[16:20])
        return f"ip proto {proto} {src} > {dst} {ports(proto, body[head:])}"
    if kind == 0x86DD:
        proto, src, dst = body[6], socket.inet_ntop(10, body[8:24]), socket.inet_ntop(10, body[24:40])
        rest = body[40:]
        if proto == 0 and rest[0] == 58:  # hop by hop, then ICMPv6: multicast listener report
            return None
        if proto == 58 and rest[0] in (133, 134, 135, 136, 143):
            return None
        return f"ip6 proto {proto} {src} > {dst} {ports(proto, rest)}"
    return None if kind == 0x0806 else f"ethertype {kind:04x}"


def ports(proto, body):
    if proto in (6, 17, 136, 132, 33) and len(body) >= 4:
        return "%d > %d" % struct.unpack("!HH", body[:4])
    return ""


def op_run(argv, input=""):
    done = subprocess.run(argv, input=input, capture_output=True, text=True, timeout=30)
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


def op_python(text):
    """Runs statements; what they put into `out` is the answer."""
    scope = {"out": None, "SOCKETS": SOCKETS}
    exec(text, scope)
    return {"out": scope["out"]}


def op_setuid(uid):
    os.setuid(uid)


def main():
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = {"ok": True, **(globals()["op_" + order.pop("op")](**order) or {})}
        except Exception as fault:
            answer = {"ok": False, "error": code(fault)}
        print(json.dumps(answer), flush=True)


main()
