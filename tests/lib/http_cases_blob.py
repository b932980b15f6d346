"""What blobs answer: conditions (RFC 9110 13), ranges (14), codings, HEAD, deletes; spec 8 to 15. Where the spec of the
volume server is narrower than RFC 9110, clients rely on what it says."""
import re

from lib.http_cases_line import OK
from lib.http_exchange import Answer as A
from lib.http_exchange import Case
from lib.http_message import DIGITS, HOST, get, message, put_text

ETAG = '"280c069e"'
DATE = 'Sun, 13 Sep 2020 12:26:40 GMT'
HEAD = A(200, {'Content-Length': '10', 'Etag': ETAG, 'Last-Modified': DATE, 'Accept-Ranges': 'bytes'}, b'', is_head=True)
NOT_MODIFIED = A(304, {'Content-Length': None, 'Etag': None}, b'')
INVALID = A(416, {'Content-Type': 'text/plain; charset=utf-8', 'Content-Range': None}, b'invalid range\n')
BEYOND = A(416, {'Content-Range': r'bytes \*/10'}, b'invalid range: failed to overlap\n')
NOTHING = A(200, {'Content-Length': '0'}, b'')


def head(target='{b}', *headers):
    return message(f'HEAD {target} HTTP/1.1', HOST, *headers)


def asks(name, *headers, answer=OK, why='spec 8', **options):
    return Case(name, get('{b}', *headers), [answer], why, **options)


def part(value, first, last, **options):
    """One range that is served."""
    data = DIGITS[first:last + 1]
    return asks(f'Range: {value}', f'Range: {value}', why='spec 9, RFC 9110 14.2', **options,
                answer=A(206, {'Content-Range': f'bytes {first}-{last}/10', 'Content-Length': str(len(data))}, data))


def parts(value, *spans):
    """Several, as multipart/byteranges."""
    body = ''.join(f'--B\r\nContent-Range: bytes {a}-{b}/10\r\nContent-Type: [^\r]*\r\n\r\n{DIGITS[a:b + 1].decode()}\r\n' for a, b in spans)
    pattern = body.replace('--B', '--[0-9a-f]{60}') + '--[0-9a-f]{60}--\r\n'
    return asks(f'Range: {value}', f'Range: {value}', why='spec 9, RFC 9110 14.6',
                answer=A(206, {'Content-Type': 'multipart/byteranges; boundary=[0-9a-f]{60}', 'Content-Range': None},
                         re.compile(pattern.encode())))


def no_part(value, answer):
    return asks(f'Range: {value}', f'Range: {value}', answer=answer, why='spec 9')


def coded(name, value, is_packed):
    headers = {'Content-Encoding': 'gzip' if is_packed else None, 'Vary': None}
    return Case(name, get('{t}', *([f'Accept-Encoding: {value}'] if value is not None else [])), [A(200, headers)], 'spec 10')


CASES = [
    Case('HEAD', head(), [HEAD], 'RFC 9110 9.3.2: the header of GET'),
    Case('HEAD with a range', head('{b}', 'Range: bytes=0-1'), [HEAD], 'RFC 9110 14.2: for GET alone'),
    Case('HEAD of what is not there', head('{f}'), [A(404, {}, b'', is_head=True)], 'RFC 9110 9.3.2'),
    Case('HEAD of no file id', head('/x'), [A(400, {}, b'', is_head=True)], 'spec 8'),
    Case('HEAD of /status', head('/status'), [A(200, {'Content-Type': 'application/json'}, b'', is_head=True)], 'RFC 9110 9.3.2'),
    Case('HEAD with a condition', head('{b}', f'If-None-Match: {ETAG}'), [A(304, {'Etag': None}, b'', is_head=True)], 'spec 8'),
    Case('HEAD of a redirect', head('//x'), [A(307, {'Location': '/x'}, b'', is_head=True)], 'spec 3.1'),
    Case('HEAD of compressed text', head('{t}'), [A(200, {'Content-Length': '4500', 'Content-Encoding': None}, b'', is_head=True)],
         'spec 8: as GET'),
    Case('HEAD with a body', message('HEAD {b} HTTP/1.1', HOST, 'Content-Length: 5', body='hello'), [HEAD], 'RFC 9110 9.3.2'),

    asks('If-None-Match of the tag', f'If-None-Match: {ETAG}', answer=NOT_MODIFIED),
    asks('If-None-Match of another tag', 'If-None-Match: "x"'),
    asks('If-None-Match without quotes', 'If-None-Match: 280c069e'),
    asks('If-None-Match of a weak tag', f'If-None-Match: W/{ETAG}', why='spec 8: not understood, so the blob is sent'),
    asks('If-None-Match of a list', f'If-None-Match: "x", {ETAG}', why='spec 8: not understood'),
    asks('If-None-Match: *', 'If-None-Match: *', why='spec 8: not understood'),
    asks('If-Modified-Since then', f'If-Modified-Since: {DATE}', answer=A(304, {'Etag': None, 'Last-Modified': DATE}, b'')),
    asks('If-Modified-Since later', 'If-Modified-Since: Mon, 14 Sep 2020 12:26:40 GMT', answer=NOT_MODIFIED),
    asks('If-Modified-Since before', 'If-Modified-Since: Sun, 13 Sep 2020 12:26:39 GMT'),
    asks('If-Modified-Since in the future', 'If-Modified-Since: Thu, 31 Dec 2099 00:00:00 GMT', answer=NOT_MODIFIED),
    asks('If-Modified-Since of RFC 850', 'If-Modified-Since: Sunday, 13-Sep-20 12:26:40 GMT', why='spec 8: another format is ignored'),
    asks('If-Modified-Since of asctime', 'If-Modified-Since: Sun Sep 13 12:26:40 2020', why='spec 8'),
    asks('If-Modified-Since of another zone', 'If-Modified-Since: Sun, 13 Sep 2020 12:26:40 CET', why='spec 8'),
    asks('If-Modified-Since of a day that is none', 'If-Modified-Since: Sun, 31 Feb 2021 12:26:40 GMT', why='spec 8'),
    asks('If-Modified-Since of rubbish', 'If-Modified-Since: ' + 'x' * 5000, why='spec 8'),
    asks('time and another tag', f'If-Modified-Since: {DATE}', 'If-None-Match: "x"', answer=NOT_MODIFIED,
         why='spec 8: the time is looked at first'),
    asks('If-Match of another tag', 'If-Match: "x"', why='spec 8: ignored'),
    asks('If-Unmodified-Since before', 'If-Unmodified-Since: Sun, 13 Sep 2019 12:26:40 GMT', why='spec 8: ignored'),
    asks('a condition before a range', f'If-None-Match: {ETAG}', 'Range: bytes=0-1', answer=NOT_MODIFIED, why='RFC 9110 13.2.2'),
    asks('If-Range of another tag', 'If-Range: "x"', 'Range: bytes=0-1', answer=A(206, {}, b'01'), why='spec 8: ignored'),
    Case('a condition on what is not there', get('{f}', 'If-None-Match: *'), [A(404, {}, b'')], 'spec 8'),

    part('bytes=0-1', 0, 1), part('bytes=0-0', 0, 0), part('bytes=9-9', 9, 9), part('bytes=2-', 2, 9), part('bytes=-3', 7, 9),
    part('bytes=-10', 0, 9), part('bytes=-99', 0, 9), part('bytes=5-99', 5, 9), part('bytes=0-', 0, 9),
    no_part('bytes=0-18446744073709551615', INVALID), part('bytes=0-9223372036854775807', 0, 9), part('bytes= 0-1 , ', 0, 1),
    part('bytes=,,0-1,,', 0, 1), part('bytes=0-1,20-', 0, 1), part('bytes=20-21,-2', 8, 9), part('bytes=00-01', 0, 1),
    part('bytes=+1-2', 1, 2), part('bytes=-9223372036854775807', 0, 9),
    parts('bytes=0-1,3-4', (0, 1), (3, 4)), parts('bytes=3-4,0-1', (3, 4), (0, 1)), parts('bytes=0-0,-1', (0, 0), (9, 9)),
    parts('bytes=0-1,0-1', (0, 1), (0, 1)), parts('bytes=0-0,2-2,4-4,6-6,8-8', *[(i, i) for i in (0, 2, 4, 6, 8)]),
    parts('bytes= 0-1 , 2-3 ,', (0, 1), (2, 3)), parts('bytes=0-4,5-9', (0, 4), (5, 9)),
    no_part('bytes=10-', BEYOND), no_part('bytes=10-11', BEYOND), no_part('bytes=20-,30-', BEYOND), no_part('bytes=99999999999-', BEYOND),
    no_part('bytes=3-1', INVALID), no_part('bytes=a-b', INVALID), no_part('bytes=1', INVALID), no_part('bytes=-', INVALID),
    no_part('items=0-1', INVALID), no_part('bytes 0-1', INVALID), no_part('BYTES=0-1', INVALID), no_part('bytes=0-1,x', INVALID),
    no_part('bytes=0x1-2', INVALID), no_part('bytes=1-2-3', INVALID), no_part('bytes=18446744073709551616-', INVALID),
    no_part('bytes=1.5-2', INVALID), no_part(' ', OK), no_part('bytes=', NOTHING), no_part('bytes=,', NOTHING),
    no_part('bytes=0-7,1-8', NOTHING), no_part('bytes=0-,0-', NOTHING),
    asks('a thousand ranges', 'Range: bytes=' + ','.join(['0-0'] * 1000), answer=NOTHING, why='spec 9: more than the whole'),
    asks('ten thousand ranges beyond the end', 'Range: bytes=' + ','.join(['99-'] * 10000), answer=BEYOND, why='spec 9'),
    part('bytes=-0', 10, 9),
    asks('Range: bytes=--1', 'Range: bytes=--1', answer=INVALID, why='spec 9: advice',
         peer=([A(206, {'Content-Range': 'bytes 11-9/10'}, b'')], True), differs='weed lets a negative length through'),
    Case('a range of what is not there', get('{f}', 'Range: bytes=0-1'), [A(404, {}, b'')], 'spec 8'),

    coded('no Accept-Encoding', None, False), coded('Accept-Encoding: gzip', 'gzip', True),
    coded('gzip in a list', 'deflate, gzip;q=0.5, br', True), coded('another coding', 'br', False), coded('identity', 'identity', False),
    coded('GZIP in capitals', 'GZIP', False), coded('any coding', '*', False), coded('x-gzip', 'x-gzip', True),
    coded('an empty Accept-Encoding', '', False),
    coded('gzip that is not wanted', 'gzip;q=0', True),
    Case('a range of compressed text', get('{t}', 'Range: bytes=1-2'), [A(206, {'Content-Range': 'bytes 1-2/4500'}, b'he')], 'spec 9'),
    Case('a range of what is sent packed', get('{t}', 'Accept-Encoding: gzip', 'Range: bytes=0-1'),
         [A(206, {'Content-Encoding': 'gzip'}, b'\x1f\x8b')], 'spec 9'),

    Case('an override with a line break', get('{b}?response-content-type=a%0d%0aX-Evil:%20y'), [A(200, {'X-Evil': None}, DIGITS)],
         'a break must not become a header'),
    Case('an override with a NUL', get('{b}?response-expires=a%00b'), [A(200, {'Expires': 'a b'}, DIGITS)], 'RFC 9110 5.5',
         peer=([200], True), differs='weed sends the NUL'),
    Case('a disposition with a line break', get('/{v}/{bk}/a%0d%0aX-Evil:%20y'), [A(200, {'X-Evil': None}, DIGITS)], 'spec 8'),
    Case('dl', get('/{v}/{bk}/n.bin?dl=1'), [A(200, {'Content-Disposition': 'attachment; filename=n.bin'}, DIGITS)], 'spec 8'),
    Case('Origin', get('{b}', 'Origin: http://a'), [A(200, {'Access-Control-Allow-Origin': r'\*'}, DIGITS)], 'spec 3.4'),
    Case('an empty Origin', get('{b}', 'Origin:'), [A(200, {'Access-Control-Allow-Origin': None}, DIGITS)], 'spec 3.4'),
    Case('another cookie', get('/{v},{bw}'), [A(404, {'Content-Length': '0'}, b'')], 'spec 8'),
    Case('a request id of the client', get('{b}', 'X-Amz-Request-Id: mine'), [A(200, {'X-Amz-Request-Id': '[0-9A-F]{24}'}, DIGITS)],
         'spec 3.2: ignored'),
    Case('a write, a delete, a read', put_text('hello') + message('DELETE {f} HTTP/1.1', HOST) + get('{f}'),
         [A(201), A(202, {}, re.compile(rb'\{"size":\d+\}')), A(404, {}, b'')], 'spec 15', stored=b''),
    Case('the same write twice', put_text('hello') * 2, [A(201), A(204, {'Content-Length': None, 'Etag': '"9a71bb4c"'}, b'')], 'spec 14.9',
         stored=b'hello'),
    Case('POST without a type', message('POST {f} HTTP/1.1', HOST, 'Content-Length: 5', body='hello'),
         [A(400, {}, b'{"error":"request Content-Type isn\'t multipart/form-data"}')], 'spec 14.2', stored=b''),
    Case('an answer of /status', get('/status'), [A(200, {'Content-Type': 'application/json', 'X-Content-Type-Options': 'nosniff'})],
         'spec 16.1'),
    Case('an answer of /healthz', get('/healthz'), [A(200, {'Content-Length': '0'}, b'')], 'spec 16.2'),
]
