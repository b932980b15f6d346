"""Request bytes for the cases: lines and header fields are given, nothing is added but line ends."""
HOST = 'Host: kelp'
TYPE = 'Content-Type: application/octet-stream'


def raw(text):
    return text if isinstance(text, bytes) else text.encode('latin-1')


def message(line, *headers, body=b''):
    """{f}: the case's own file id as a path, {b}: one that holds DIGITS, {t}: compressed text, {v}: the volume."""
    return b''.join(raw(part) + b'\r\n' for part in (line, *headers)) + b'\r\n' + raw(body)


def get(target='{b}', *headers, version='1.1'):
    return message(f'GET {target} HTTP/{version}', HOST, *headers)


def put(*headers, body=b'', target='{f}', version='1.1'):
    """Without a length: the case gives the framing."""
    return message(f'PUT {target} HTTP/{version}', HOST, TYPE, *headers, body=body)


def put_text(text, *headers, target='{f}'):
    return put(f'Content-Length: {len(raw(text))}', *headers, body=text, target=target)


def put_chunked(body, *headers):
    return put('Transfer-Encoding: chunked', *headers, body=body)


COOKIE = '637037d6'
DIGITS = b'0123456789'
TEXT = b'The quick brown fox jumps over the lazy dog.\n' * 100


class Blobs:
    """The file ids of a side, and the two blobs that all cases read."""

    def __init__(self, volume):
        self.volume = volume
        self.digits, self.text = f'b0{COOKIE}', f'b1{COOKIE}'

    def fill_in(self, number):
        key = f'{0x1000 + number * 16:x}{COOKIE}'
        values = {'{f}': f'/{self.volume},{key}', '{v}': str(self.volume), '{k}': key, '{b}': f'/{self.volume},{self.digits}',
                  '{bk}': self.digits, '{bc}': f'/{self.volume}%2C{self.digits}', '{bw}': f'b0{"0" * 8}',
                  '{t}': f'/{self.volume},{self.text}'}

        def fill_in(data):
            for name, value in values.items():
                data = data.replace(name.encode(), value.encode())
            return data
        return fill_in

    def requests(self):
        """That store them; each is answered 201."""
        past = '?ts=1600000000'
        return [message(f'PUT /{self.volume},{key}{past} HTTP/1.1', HOST, f'Content-Type: {kind}', f'Content-Length: {len(data)}', body=data)
                for key, kind, data in ((self.digits, 'application/octet-stream', DIGITS), (self.text, 'text/plain', TEXT))]
