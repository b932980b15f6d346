"""What a connection costs that has served one request and is kept: resident memory of the server."""
import socket
import time

from meters import KINDS, rss_bytes, servers

ROUNDS = 3
CONNECTIONS = 10_000


def connect(server, path):
    connection = socket.create_connection(('127.0.0.1', server.port))
    connection.sendall(f'GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n'.encode())
    got = b''
    while b'\r\n\r\n' not in got:
        got += connection.recv(65536)
    return connection


def one_round(results, folder, kind, options):
    folder.mkdir(parents=True)
    count = min(CONNECTIONS, options.keys)
    with servers(folder, kind) as (_cluster, server):
        connections = [connect(server, '/0,0')]  # answered with 404, or 400: no blob, no buffer for one
        time.sleep(options.settle)
        before = rss_bytes(server)
        connections += [connect(server, '/0,0') for _ in range(count)]
        time.sleep(options.settle)
        results.add(f'{CONNECTIONS:,} idle connections, each', 'KiB', kind, (rss_bytes(server) - before) / count / 1024,
                    digits=2)
        for connection in connections:
            connection.close()


def measure(results, folder, options, _stack):
    for number in range(options.rounds or ROUNDS):
        for kind in KINDS:
            if kind in options.kinds:
                one_round(results, folder / f'{kind}-{number}', kind, options)
