"""Takes the syslog datagrams of the peer and writes them to a file, as a log daemon does: syslog-sink.py PORT FILE"""
import socket
import sys

sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
sink.bind(("127.0.0.1", int(sys.argv[1])))
with open(sys.argv[2], "wb", buffering=1 << 16) as out:
    while True:
        out.write(sink.recv(2048))
