"""Clients that do what no decent client does, and what a server has in hand because of them."""
import contextlib
import os
import re
import socket
import struct

from lib.cluster import http, kelp_binary

MIB = 1 << 20


def is_sanitized():
    with open(kelp_binary(), 'rb') as binary:
        data = binary.read()
    return any(name in data for name in (b'__asan_init', b'__tsan_init'))


def sibling(fid, key):
    return f'{fid.split(",")[0]},{key:x}637037d6'


def put(server, fid, data, **options):
    return http('PUT', f'{server.address}/{fid}', data, {'Content-Type': 'application/octet-stream'}, **options)


def sockets(server):
    """Accepted connections of the data port that the process still has."""
    port = f':{server.port:04X}'
    inodes = set()
    for name in ('tcp', 'tcp6'):
        with open(f'/proc/{server.pid}/net/{name}') as table:
            for line in table.readlines()[1:]:
                words = line.split()
                if words[1].endswith(port) and words[3] != '0A':
                    inodes.add(words[9])
    count = 0
    for entry in os.listdir(f'/proc/{server.pid}/fd'):
        with contextlib.suppress(OSError):
            match = re.fullmatch(r'socket:\[(\d+)\]', os.readlink(f'/proc/{server.pid}/fd/{entry}'))
            count += bool(match and match[1] in inodes)
    return count


def rss_bytes(server):
    with open(f'/proc/{server.pid}/smaps_rollup') as rollup:
        return int(re.search(r'^Rss:\s+(\d+) kB', rollup.read(), re.M)[1]) * 1024


def connect(server, data=b'', receive_buffer=None):
    s = socket.socket()
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.settimeout(30)
    s.connect(('127.0.0.1', server.port))
    s.sendall(data)
    return s


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()


def head(method, fid, *fields):
    return '\r\n'.join([f'{method} /{fid} HTTP/1.1', 'Host: kelp', 'Content-Type: a/b', *fields, '', '']).encode()


def read_all(s):
    data = b''
    with contextlib.suppress(ConnectionResetError):
        while piece := s.recv(1 << 16):
            data += piece
    return data
