"""HTTP over one plain socket, for tests that send thousands of requests.

Requests can be sent in a row before the first answer is read (pipelining). Every answer must carry a
Content-Length; an answer that ends early is a ConnectionError, so no torn one passes for whole.
"""
import socket

WINDOW = 64  # requests sent ahead of the answers


def request_bytes(method, path, body=b'', headers=''):
    return (f'{method} {path} HTTP/1.1\r\nHost: kelp\r\nContent-Length: {len(body)}\r\n'
            f'Content-Type: application/octet-stream\r\n{headers}\r\n').encode() + body


class RawClient:
    def __init__(self, port, host='127.0.0.1', timeout=20):
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b''

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def _more(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError('closed in the middle of an answer')
        self.buffer += data

    def answer(self):
        """Status and body of the next answer."""
        while (end := self.buffer.find(b'\r\n\r\n')) < 0:
            self._more()
        head = self.buffer[:end].lower()
        at = head.find(b'\r\ncontent-length:')
        if at >= 0:
            length = int(head[at + 17:].split(b'\r\n', 1)[0])
        elif head[9:12] in (b'204', b'304'):
            length = 0
        else:
            raise ValueError(f'an answer without a length: {head!r}')
        total = end + 4 + length
        while len(self.buffer) < total:
            self._more()
        body = self.buffer[end + 4:total]
        self.buffer = self.buffer[total:]
        return int(head[9:12]), body

    def call(self, method, path, body=b'', headers=''):
        self.socket.sendall(request_bytes(method, path, body, headers))
        return self.answer()

    def call_all(self, requests):
        """Answers of many requests (method, path, body), in their order."""
        requests = list(requests)
        for first in range(0, len(requests), WINDOW):
            part = requests[first:first + WINDOW]
            self.socket.sendall(b''.join(request_bytes(*r) for r in part))
            for _ in part:
                yield self.answer()
