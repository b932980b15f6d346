"""Bytes to a server and its answers, cut by the rules of RFC 9112 6.3 and by nothing softer.

A case is one connection: bytes, the answers that must come, and how the connection is afterwards. What is
'open' is proved by one more request, what is 'closed' by its end, so nothing waits for time to pass."""
import re
import socket

PROBE = b'GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n'


class Answer:
    """One that has come, or (with headers and body as expected) one that must come: a header's value is a
    regular expression, or None when it must be absent; body is bytes, a compiled expression, or None for any."""

    def __init__(self, status, headers=None, body=None, is_head=False):
        self.status, self.headers, self.body, self.is_head = status, headers or {}, body, is_head

    def __repr__(self):
        return f'{self.status} {self.headers} {self.body!r:.200}'

    def misses(self, got):
        """What of this expectation `got` does not hold; an empty list when all is well."""
        wrong = []
        if got.status != self.status:
            wrong.append(f'status {got.status}, wanted {self.status}')
        for name, pattern in self.headers.items():
            values = got.headers.get(name.lower(), [])
            if pattern is None and values:
                wrong.append(f'{name}: {values}, wanted none')
            elif pattern is not None and not (len(values) == 1 and re.fullmatch(pattern, values[0])):
                wrong.append(f'{name}: {values}, wanted {pattern}')
        if isinstance(self.body, bytes) and got.body != self.body:
            wrong.append(f'body {got.body[:200]!r}, wanted {self.body[:200]!r}')
        elif isinstance(self.body, re.Pattern) and not self.body.fullmatch(got.body):
            wrong.append(f'body {got.body[:200]!r}, wanted {self.body.pattern!r}')
        return wrong


class Ended(Exception):
    """The connection ended where an answer might have come."""


class Connection:
    def __init__(self, address, timeout=20):
        host, port = address.split(':')
        self.socket = socket.create_connection((host, int(port)), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b''

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the answer, if one was given, is still there to be read

    def _fill(self):
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b''
        if not data:
            raise Ended
        self.buffer += data

    def _take(self, size):
        while len(self.buffer) < size:
            self._fill()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def _line(self):
        while b'\n' not in self.buffer:
            self._fill()
        line = self._take(self.buffer.index(b'\n') + 1)
        assert line.endswith(b'\r\n'), line
        return line[:-2]

    def _chunks(self):
        body = b''
        while size := int(self._line().split(b';')[0], 16):
            body += self._take(size)
            assert self._take(2) == b'\r\n'
        while self._line():
            pass
        return body

    def answer(self, is_head=False):
        match = re.fullmatch(rb'HTTP/1\.[01] (\d{3}) .*', self._line())
        assert match, self.buffer
        status, headers = int(match[1]), {}
        while line := self._line():
            name, value = line.decode('latin-1').split(':', 1)
            headers.setdefault(name.lower(), []).append(value.strip())
        if is_head or status < 200 or status in (204, 304):
            body = b''
        elif headers.get('transfer-encoding') == ['chunked']:
            body = self._chunks()
        elif 'content-length' in headers:
            assert len(headers['content-length']) == 1, headers
            body = self._take(int(headers['content-length'][0]))
        else:
            body = self.rest()
        return Answer(status, headers, body)

    def rest(self):
        """All until the end of the connection."""
        try:
            while True:
                self._fill()
        except Ended:
            data, self.buffer = self.buffer, b''
            return data

    def is_open(self):
        """True when one more request is answered, False when the connection ends instead."""
        self.send(PROBE)
        try:
            return self.answer().status == 200
        except Ended:
            return False


class Case:
    """One connection.

    `sends` is what is sent: bytes, or a list of bytes with EOF for the end of our side and a number for so many
    answers to be read first. `answers` must come, then the connection is open or not (None: either will do).
    `why` names the rule. When the released peer does otherwise, `peer` says how (its answers, and whether it keeps
    the connection) and `differs` why we do not follow. `stored` is what a read of {f} finds afterwards; b'' stands
    for nothing."""

    def __init__(self, name, sends, answers, why, is_open=True, peer=None, differs=None, stored=None):
        self.name, self.why, self.differs, self.stored = name, why, differs, stored
        self.sends = [sends] if isinstance(sends, bytes) else sends
        self.answers, self.is_open = _answers(answers), is_open
        assert (peer is None) == (differs is None), name
        self.peer_answers, self.peer_open = (self.answers, is_open) if peer is None else (_answers(peer[0]), peer[1])


EOF = object()
SILENT = None  # the peer waits for more, and is not asked


def _answers(items):
    if items is SILENT:
        return None
    return [Answer(item) if isinstance(item, int) else item for item in items]


def play(address, case, fill_in, wanted, is_open):
    """Plays a case on one connection; the answers, and what was wrong with them as a list of texts."""
    got, wrong = [], []

    def read(count):
        while len(got) < count:
            got.append(connection.answer(len(got) < len(wanted) and wanted[len(got)].is_head))

    with Connection(address) as connection:
        try:
            for item in case.sends:
                if item is EOF:
                    connection.socket.shutdown(socket.SHUT_WR)
                elif isinstance(item, int):
                    read(len(got) + item)
                else:
                    connection.send(fill_in(item))
            read(len(wanted))
        except Ended:
            wrong.append(f'ended after {len(got)} of {len(wanted)} answers, left {connection.buffer[:100]!r}')
        except TimeoutError:
            wrong.append(f'silent after {len(got)} of {len(wanted)} answers, left {connection.buffer[:100]!r}')
        else:
            if is_open is not None and EOF not in case.sends and connection.is_open() != is_open:
                wrong.append('the connection ' + ('has ended' if is_open else 'goes on'))
    for number, (answer, want) in enumerate(zip(got, wanted)):
        wrong += [f'answer {number}: {text}' for text in want.misses(answer)]
    return got, wrong
