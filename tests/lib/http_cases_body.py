"""Framing of bodies (RFC 9112 6 and 7) and requests in a row (9.3.2): the shapes that smuggle."""
from lib.http_cases_line import OK, REFUSED
from lib.http_exchange import EOF, SILENT, Case
from lib.http_exchange import Answer as A
from lib.http_message import DIGITS, HOST, get, message, put, put_chunked, put_text

STORED = A(201, {'Content-Type': 'application/json'})
SMUGGLED = get('/3,0137037d6', 'X-Smuggled: yes')
TOO_LARGE = A(400, {}, b'{"error":"file over the limited 1048576 bytes"}')
SINGLE_CHUNK = b'5\r\nhello\r\n0\r\n\r\n'
LENGTH = 'RFC 9112 6.3: an invalid length is 400'


def length(value, body='hello', **options):
    return Case(f'Content-Length: {value!r}', put(f'Content-Length: {value}', body=body), [REFUSED], LENGTH, False,
                stored=b'', **options)


def chunks(name, body, why='RFC 9112 7.1', **options):
    return Case(name, put_chunked(body), [REFUSED], why, False, stored=b'', **options)


def chunks_taken(name, body, why='RFC 9112 7.1', stored=b'hello', **options):
    return Case(name, put_chunked(body), [STORED], why, stored=stored, **options)


def coding(value, body=SINGLE_CHUNK, status=501, why='RFC 9112 6.1: 501 for what is not known', **options):
    return Case(f'Transfer-Encoding: {value!r}', put(f'Transfer-Encoding: {value}', body=body),
                [A(status, {'Connection': 'close'})], why, False, stored=b'', **options)


CASES = [
    Case('a length', put_text('hello'), [STORED], 'RFC 9112 6.2', stored=b'hello'),
    Case('a length of nothing', put_text(''), [STORED], 'RFC 9112 6.2'),
    Case('no length', put(), [STORED], 'RFC 9112 6.3: no body then'),
    Case('a length with zeros before', put('Content-Length: 0005', body='hello'), [STORED], 'RFC 9110 8.6: digits', stored=b'hello'),
    Case('a length with blanks around', put('Content-Length: \t5 ', body='hello'), [STORED], 'RFC 9112 5.1', stored=b'hello'),
    Case('two lengths that differ', put('Content-Length: 5', 'Content-Length: 6', body='hello!'), [REFUSED], LENGTH, False, stored=b''),
    Case('the same length twice', put('Content-Length: 5', 'Content-Length: 5', body='hello'), [REFUSED],
         'RFC 9112 6.3: may be refused', False, stored=b'',
         peer=([201], True), differs='weed takes equal ones'),
    Case('two lengths, one empty', put('Content-Length:', 'Content-Length: 5', body='hello'), [REFUSED], LENGTH, False, stored=b''),
    *[length(value) for value in ('5, 5', '5, 6', '+5', '-5', '0x5', '5a', 'a', '', '5 5', '5;', '5.0', '1e1', '5\x0b', '\xa05',
                                  '9223372036854775808', '18446744073709551616', '18446744073709551621', '9' * 100)],
    Case('a length to read', message('GET {b} HTTP/1.1', HOST, 'Content-Length: x'), [REFUSED], LENGTH, False),
    Case('a length beyond the limit', put('Content-Length: 9000000000'), [TOO_LARGE],
         'spec 14.5; refused before it is sent', False, stored=b'',
         peer=(SILENT, None), differs='weed waits for all of it'),
    Case('a body shorter than its length', [put('Content-Length: 10', body='hello'), EOF], [A(400)], 'RFC 9112 8', False, stored=b''),
    Case('a body longer than its length', put('Content-Length: 5', body='hello') + b'xyz\r\n\r\n', [STORED, REFUSED],
         'RFC 9112 2.2: the rest is no request', False, stored=b'hello'),

    Case('length before chunks', put('Content-Length: 5', 'Transfer-Encoding: chunked', body=SINGLE_CHUNK) + SMUGGLED, [REFUSED],
         'RFC 9112 6.1: may be an attack, refused and closed', False, stored=b'',
         peer=([201], False), differs='weed drops the length'),
    Case('chunks before length', put('Transfer-Encoding: chunked', 'Content-Length: 5', body=SINGLE_CHUNK) + SMUGGLED, [REFUSED],
         'RFC 9112 6.1', False, stored=b'',
         peer=([201], False), differs='weed drops the length'),
    Case('length to smuggle by chunks', put('Content-Length: 4', 'Transfer-Encoding: chunked', body=b'0\r\n\r\n' + SMUGGLED), [REFUSED],
         'RFC 9112 6.1', False, stored=b'',
         peer=([201], False), differs='weed drops the length'),
    Case('length beside an unknown coding', put('Content-Length: 5', 'Transfer-Encoding: xchunked', body='hello') + SMUGGLED,
         [REFUSED], 'RFC 9112 6.1', False, stored=b'', peer=([501], False), differs='both refuse'),
    Case('chunks in two fields', put('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked', body=SINGLE_CHUNK), [REFUSED],
         'RFC 9112 6.1: not applied twice', False, stored=b'', peer=([501], False), differs='both refuse'),
    Case('chunks in a first field of two', put('Transfer-Encoding: chunked', 'Transfer-Encoding: identity', body=SINGLE_CHUNK),
         [REFUSED], 'RFC 9112 6.3', False, stored=b'', peer=([501], False), differs='both refuse'),
    Case('chunks in a second field of two', put('Transfer-Encoding: identity', 'Transfer-Encoding: chunked', body=SINGLE_CHUNK),
         [A(501)], 'RFC 9112 6.1', False, stored=b''),
    Case('chunks of 1.0', put('Transfer-Encoding: chunked', version='1.0', body=SINGLE_CHUNK), [REFUSED],
         'RFC 9112 6.1: faulty framing, whatever follows', False, stored=b'',
         peer=([201], False), differs='weed takes it for a request without a body'),
    Case('CHUNKED in capitals', put('Transfer-Encoding: CHUNKED', body=SINGLE_CHUNK), [STORED], 'RFC 9112 7: case-insensitive',
         stored=b'hello'),
    Case('a blank after chunked', put('Transfer-Encoding: chunked ', body=SINGLE_CHUNK), [STORED], 'RFC 9112 5.1', stored=b'hello'),
    Case('a tab after chunked', put('Transfer-Encoding: chunked\t', body=SINGLE_CHUNK), [REFUSED], 'RFC 9112 5.1 would have it taken', False,
         stored=b'', peer=([201], True), differs='nobody sends it, and refusing is safe'),
    Case('a tab before chunked', put('Transfer-Encoding:\tchunked', body=SINGLE_CHUNK), [STORED], 'RFC 9112 5.1', stored=b'hello'),
    Case('a blank before the colon of the coding', put('Transfer-Encoding : chunked', body=SINGLE_CHUNK), [REFUSED], 'RFC 9112 5.1',
         False, stored=b''),
    *[coding(value) for value in ('identity', 'gzip', 'gzip, chunked', 'xchunked', '"chunked"', 'chunked;a=b', ',chunked',
                                  'chunke\xa4', '')],
    *[coding(value, status=400, why='RFC 9112 6.1', peer=([501], False), differs='both refuse')
      for value in ('chunked, chunked', 'chunked, identity', 'chunked,')],
    Case("Transfer-Encoding with a vertical tab", put('Transfer-Encoding: \x0bchunked', body=SINGLE_CHUNK), [REFUSED], 'RFC 9110 5.5',
         False, stored=b''),
    Case('a name that is nearly Transfer-Encoding', put('Transfer_Encoding: chunked', 'Content-Length: 5', body='hello'), [STORED],
         'RFC 9110 5.1: another field', stored=b'hello'),

    chunks_taken('one chunk', SINGLE_CHUNK),
    chunks_taken('two chunks', b'2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n'),
    chunks_taken('chunks of one byte', b''.join(b'1\r\n%c\r\n' % c for c in b'hello') + b'0\r\n\r\n'),
    chunks_taken('no chunk', b'0\r\n\r\n', stored=None),
    chunks_taken('capital digits', b'A\r\n0123456789\r\n0\r\n\r\n', stored=DIGITS),
    chunks_taken('small digits', b'a\r\n0123456789\r\n0\r\n\r\n', stored=DIGITS),
    chunks_taken('zeros before a size', b'0005\r\nhello\r\n000\r\n\r\n'),
    chunks_taken('an extension', b'5;a=b\r\nhello\r\n0;c\r\n\r\n', 'RFC 9112 7.1.1: to be ignored'),
    chunks_taken('an extension that is quoted', b'5;a="b;c d"\r\nhello\r\n0\r\n\r\n', 'RFC 9112 7.1.1'),
    chunks('a quoted pair in an extension', b'5;a="b\\"c"\r\nhello\r\n0\r\n\r\n', 'RFC 9112 7.1.1 would have it taken',
           peer=([201], True), differs='nobody sends it, and refusing is safe'),
    chunks_taken('a trailer', b'5\r\nhello\r\n0\r\nX-A: b\r\n\r\n', 'RFC 9112 7.1.2: to be dropped'),
    chunks('a trailer that would be a coding', b'5\r\nhello\r\n0\r\nTransfer-Encoding: x\r\n\r\n', 'RFC 9110 6.5.1: not to be sent',
           peer=([201], True), differs='weed drops it'),
    chunks_taken('a trailer that would be a length', b'5\r\nhello\r\n0\r\nContent-Length: 99\r\n\r\n', 'RFC 9110 6.5.1: not merged'),
    chunks_taken('a folded trailer', b'5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n', 'RFC 9112 7.1.2: dropped, whatever it is'),
    chunks_taken('a trailer that names a pair', b'5\r\nhello\r\n0\r\nSeaweed-A: b\r\n\r\n', 'RFC 9110 6.5.1: not merged'),
    chunks('a size with 0x', b'0x5\r\nhello\r\n0\r\n\r\n'),
    chunks('a size below zero', b'-5\r\nhello\r\n0\r\n\r\n'),
    chunks('a size with a plus', b'+5\r\nhello\r\n0\r\n\r\n'),
    chunks('a blank before a size', b' 5\r\nhello\r\n0\r\n\r\n'),
    chunks('a blank after a size', b'5 \r\nhello\r\n0\r\n\r\n', 'RFC 9112 7.1: none is allowed there',
           peer=([201], True), differs='weed trims them'),
    chunks('a tab after a size', b'5\t\r\nhello\r\n0\r\n\r\n',
           peer=([201], True), differs='weed trims them'),
    chunks('a size that is none', b'g\r\nhello\r\n0\r\n\r\n'),
    chunks('an empty size', b'\r\nhello\r\n0\r\n\r\n'),
    chunks('an extension without a size', b';a=b\r\nhello\r\n0\r\n\r\n'),
    chunks('a size of 17 digits', b'10000000000000005\r\nhello\r\n0\r\n\r\n', 'RFC 9112 7.1: no overflow'),
    Case('a size of 16 digits', put_chunked(b'ffffffffffffffff\r\nhello\r\n0\r\n\r\n'), [TOO_LARGE], 'RFC 9112 7.1: no overflow', False,
         stored=b'', peer=(SILENT, None), differs='weed waits for all of it'),
    Case('a size that fits no file', put_chunked(b'40000000\r\n'), [TOO_LARGE], 'spec 14.5; refused before it is sent', False,
         stored=b'', peer=(SILENT, None), differs='weed waits for all of it'),
    chunks('a bare line feed after a size', b'5\nhello\r\n0\r\n\r\n', 'RFC 9112 7.1'),
    chunks('a bare carriage return after a size', b'5\rhello\r\n0\r\n\r\n', 'RFC 9112 7.1'),
    chunks('a bare line feed in an extension', b'5;a\nhello\r\n0\r\n\r\n', 'RFC 9112 7.1.1'),
    chunks('a bare carriage return in an extension', b'5;a\rb\r\nhello\r\n0\r\n\r\n', 'RFC 9112 7.1.1'),
    chunks('a NUL in an extension', b'5;a\0b\r\nhello\r\n0\r\n\r\n', 'RFC 9112 7.1.1',
           peer=([201], True), differs='weed skips extensions unread'),
    chunks('a bare line feed after data', b'5\r\nhello\n0\r\n\r\n', 'RFC 9112 7.1'),
    chunks('nothing after data', b'5\r\nhello0\r\n\r\n', 'RFC 9112 7.1'),
    chunks('data longer than its size', b'5\r\nhello!!\r\n0\r\n\r\n', 'RFC 9112 7.1'),
    chunks('data shorter than its size', b'6\r\nhello\r\n0\r\n\r\n', 'RFC 9112 7.1'),
    chunks('an extension of 2 MB', b'5;' + b'a' * 2000000 + b'\r\nhello\r\n0\r\n\r\n', 'RFC 9112 7.1.1: a bound is demanded'),
    chunks('a trailer of 2 MB', b'5\r\nhello\r\n0\r\nX-A: ' + b'a' * 2000000 + b'\r\n\r\n', 'RFC 9112 7.1.2'),
    chunks('a size of a million zeros', b'0' * 1000000 + b'5\r\nhello\r\n0\r\n\r\n', 'RFC 9112 7.1'),
    chunks('a trailer without a colon', b'5\r\nhello\r\n0\r\nX-A\r\n\r\n', 'RFC 9112 7.1.2'),
    chunks('a bare line feed in the trailer', b'5\r\nhello\r\n0\r\nX-A: b\n\r\n', 'RFC 9112 7.1.2',
           peer=(SILENT, None), differs='weed waits for more of it'),
    Case('the last chunk ends in a bare line feed', put_chunked(b'5\r\nhello\r\n0\n\n'), [REFUSED], 'RFC 9112 7.1', False, stored=b''),
    Case('chunks that never end', [put_chunked(b'5\r\nhello\r\n'), EOF], [A(400)], 'RFC 9112 8: incomplete', False, stored=b''),
    Case('a chunk that is torn', [put_chunked(b'5\r\nhel'), EOF], [A(400)], 'RFC 9112 8: incomplete', False, stored=b''),
    Case('chunks beyond the limit', put_chunked(b'%x\r\n' % 3000000 + b'a' * 3000000 + b'\r\n0\r\n\r\n'),
         [TOO_LARGE], 'spec 14.5', False, stored=b'', peer=([TOO_LARGE], True), differs='weed reads the rest'),

    Case('three reads in a row', get() * 3, [OK, OK, OK], 'RFC 9112 9.3.2: in their order'),
    Case('a hundred reads in a row', get() * 100, [OK] * 100, 'RFC 9112 9.3.2'),
    Case('a write, then a read of it', put_text('hello') + get('{f}'), [STORED, A(200, {}, b'hello')], 'RFC 9112 9.3.2: one after another'),
    Case('chunks, then a read', put_chunked(SINGLE_CHUNK) + get('{f}'), [STORED, A(200, {}, b'hello')], 'RFC 9112 9.3.2'),
    Case('a miss between two reads', get() + get('/{v},ff{k}') + get(), [OK, A(404, {}, b''), OK], 'a status is no end'),
    Case('HEAD between two reads', get() + message('HEAD {b} HTTP/1.1', HOST) + get(),
         [OK, A(200, {'Content-Length': '10'}, b'', is_head=True), OK], 'RFC 9110 9.3.2: no body'),
    Case('an error between two reads', get() + b'GET {b} HTTP/1.1\r\n\r\n' + get(), [OK, REFUSED], 'RFC 9112 9.6: nothing after it',
         False),
    Case('an unknown method between two reads', get() + message('FROB {b} HTTP/1.1', HOST) + get(), [OK, A(400), OK],
         'spec 2.1: an answer like others'),
    Case('a smuggling shape between two reads', get() + put('Content-Length: 5', 'Transfer-Encoding: chunked', body=SINGLE_CHUNK) + get(),
         [OK, REFUSED], 'RFC 9112 6.1', False, stored=b'', peer=([OK, 201, OK], True), differs='weed drops the length'),
    Case('close between two reads', get() + get('{b}', 'Connection: close') + get(), [OK, A(200, {'Connection': 'close'}, DIGITS)],
         'RFC 9112 9.6', False),
    Case('1.0 before a read', get(version='1.0') + get(), [A(200, {}, DIGITS)], 'RFC 9112 9.3', False),
    Case('empty lines between two reads', get() + b'\r\n\r\n' + get(), [OK, OK], 'RFC 9112 2.2',
         peer=([OK, 400], False), differs='weed skips none'),
    Case('a write that fails before a read', put_text('hello', target='/x,{k}') + get(), [A(400), OK],
         'the body is read away, not parsed'),
    Case('a body that looks like a request', put_text(SMUGGLED) + get('{f}'), [STORED, A(200, {}, None)], 'RFC 9112 6'),
    Case('a refused body that looks like a request', put_text(SMUGGLED, target='/x,{k}') + get(), [A(400), OK], 'RFC 9112 9.3'),
    Case('100 in the middle', [get() + put('Content-Length: 5', 'Expect: 100-continue'), 2, b'hello' + get()],
         [OK, A(100), STORED, OK], 'RFC 9110 10.1.1', stored=b'hello'),
    Case('a body that came before 100', put('Content-Length: 5', 'Expect: 100-continue', body='hello') + get('{f}'),
         [STORED, A(200, {}, b'hello')], 'RFC 9110 10.1.1: 100 may be left out', stored=b'hello',
         peer=([100, 201, 200], True), differs='weed sends it all the same'),
    Case('rubbish after a read', get() + b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + b'x' * 40 + b'\r\n\r\n', [OK, REFUSED],
         'RFC 9112 3', False),
    Case('a hello of TLS', b'\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03' + b'\x11' * 40 + b'\r\n\r\n', [REFUSED], 'RFC 9112 3', False),
]
