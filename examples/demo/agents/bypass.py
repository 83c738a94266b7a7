"""What a hijacked agent would try. Each line: the attempt, and whether it got out ("ESCAPED") or how it died."""
import ctypes
import os
import socket
import struct
import subprocess
import urllib.request


def attempt(name, act):
    try:
        said = act()
        print(f"{name}: ESCAPED {said}" if said is not None else f"{name}: died, no answer")
    except subprocess.CalledProcessError as error:
        print(f"{name}: died, exit {error.returncode}")
    except Exception as error:  # whatever it is, it is the point
        print(f"{name}: died, {type(error).__name__} {error}")


def datagram(family, address, payload=b"x"):
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.sendto(payload, address)
        return s.recv(100)


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(5)
        s.connect(address)
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = s.recv(200)
        # Captured and refused is what we want to see: the gateway's own 403 is no escape.
        return None if answer == b"" or b" 403 " in answer.split(b"\r\n")[0] else answer


def another_resolver():
    name = b"\x09bystander\x07example\x00"
    query = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + name + struct.pack(">HH", 1, 1)
    answer = datagram(socket.AF_INET, ("9.9.9.9", 53), query)
    rcode, answers = answer[3] & 15, struct.unpack(">H", answer[6:8])[0]
    return None if (rcode, answers) != (0, 0) and answers == 0 else answer


attempt("QUIC to 203.0.113.9:443", lambda: datagram(socket.AF_INET, ("203.0.113.9", 443)))
attempt("UDP to 203.0.113.9:4000", lambda: datagram(socket.AF_INET, ("203.0.113.9", 4000)))
attempt("UDP over IPv6", lambda: datagram(socket.AF_INET6, ("2001:db8::9", 443)))
attempt("TCP to an address nobody named", lambda: connect(socket.AF_INET, ("203.0.113.9", 80)))
attempt("TCP over IPv6 to an address", lambda: connect(socket.AF_INET6, ("2001:db8::9", 80)))
attempt("cloud metadata", lambda: connect(socket.AF_INET, ("169.254.169.254", 80)))
attempt("another resolver (9.9.9.9)", another_resolver)
attempt("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt("nft flush ruleset", lambda: subprocess.run(["nft", "flush", "ruleset"], check=True, capture_output=True))
attempt("a namespace of its own", lambda: (subprocess.run(["unshare", "-Urn", "python3", "-c", "import socket; s=socket.create_connection(('203.0.113.9',80),2); print(s.recv(9))"], check=True, capture_output=True)))
attempt("the Docker socket", lambda: connect(socket.AF_UNIX, "/var/run/docker.sock"))
attempt("the host's loopback", lambda: connect(socket.AF_INET, ("127.0.0.1", int(os.environ["DEMO_HOST_PORT"]))))
