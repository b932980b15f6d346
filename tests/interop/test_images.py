"""Pictures of other sizes than they are stored in: beside the released peer, pixel for pixel as near as the formats
allow, and where kelp means to differ (an empty file for a picture, a sideways one)."""
import functools
import gzip
import io
import itertools
import json
import random

import pytest
from PIL import Image
from lib.cluster import Cluster, http

HEADERS = ('ETag', 'Content-Type', 'Content-Disposition', 'Content-Encoding', 'Accept-Ranges', 'X-File-Store')
KEYS = itertools.count(0x100)


def gradient(width, height, mode='RGB'):
    picture = Image.new('RGB', (width, height))
    picture.putdata([(x * 255 // width, y * 255 // height, 128 + 64 * (x // 8 % 2))
                     for y in range(height) for x in range(width)])
    if mode == 'RGBA':
        picture = picture.convert('RGBA')
        picture.putalpha(picture.getchannel('R'))
        return picture
    return picture.convert(mode)


def encoded(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def decoded(data):
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


@functools.cache
def exif(orientation):
    tags = Image.Exif()
    tags[0x112] = orientation
    return tags.tobytes()


PICTURES = {
    'colour.png': (encoded(gradient(80, 40), 'PNG'), 0.5),
    'alpha.png': (encoded(gradient(80, 40, 'RGBA'), 'PNG'), 1),
    'palette.png': (encoded(gradient(80, 40, 'P'), 'PNG'), 0.5),
    'grey.png': (encoded(gradient(80, 40, 'L'), 'PNG'), 0.5),
    'large.png': (encoded(gradient(300, 210), 'PNG'), 0.5),
    'colour.jpg': (encoded(gradient(80, 40), 'JPEG', quality=95), 5),
    'SIDEWAYS.JPEG': (encoded(gradient(80, 40), 'JPEG', quality=95, exif=exif(6)), 5),
    'progressive.jpg': (encoded(gradient(80, 40), 'JPEG', quality=95, progressive=True), 5),
    'print.jpg': (encoded(gradient(80, 40, 'CMYK'), 'JPEG', quality=95), 5),
    'still.gif': (encoded(gradient(80, 40, 'P'), 'GIF'), 20),
    'moving.gif': (encoded(gradient(80, 40, 'P'), 'GIF', save_all=True,
                           append_images=[gradient(80, 40).transpose(0).convert('P')]), 20),
    'lossy.webp': (encoded(gradient(80, 40), 'WEBP', quality=90), 16),
    'lossless.webp': (encoded(gradient(80, 40, 'RGBA'), 'WEBP', lossless=True), 1),
    'png in.jpg': (encoded(gradient(80, 40), 'PNG'), 5),
    'jpg in.png': (encoded(gradient(80, 40), 'JPEG', quality=95), 3),
}
# Which nobody can scale: each goes out as it came in.
OTHERS = {
    'picture.bmp': encoded(gradient(80, 40), 'BMP'),
    'noname': encoded(gradient(80, 40), 'PNG'),
    'torn.png': encoded(gradient(200, 200), 'PNG')[:-400],
    'torn.jpg': encoded(gradient(200, 200), 'JPEG')[:-400],
    'text.jpg': b'this is no picture',
    'empty.png': b'',
    'moving.webp': encoded(gradient(80, 40), 'WEBP', save_all=True, append_images=[gradient(80, 40).transpose(0)]),
}
QUERIES = ['width=20', 'height=20', 'width=7', 'height=13', 'width=1&height=1', 'width=20&height=20',
           'width=20&height=10&mode=fit', 'width=39&height=39&mode=fit', 'width=13&height=11&mode=fit',
           'width=7&height=3&mode=fit', 'width=20&height=20&mode=fill', 'width=20&height=33&mode=fill',
           'width=60&height=160', 'width=60&height=160&mode=fit', 'width=60&height=160&mode=fill',
           'width=20&mode=whatever', 'width=%2B20', 'w%69dth=20&width=9',
           'crop_x1=5&crop_y1=7&crop_x2=80&crop_y2=40', 'crop_x2=30&crop_y2=25', 'crop_x2=40&crop_y2=40&width=20',
           'crop_x1=20&crop_y1=0&crop_x2=40&crop_y2=40&width=40&height=20', 'crop_x2=1000&crop_y2=10&height=20',
           # without effect
           'width=1000', 'width=1000&height=1000&mode=fill', 'width=0&height=0', 'width=-5', 'width=abc', 'width=10.5',
           'WIDTH=10', 'mode=fit', 'crop_x1=5&crop_y1=5&crop_x2=1000&crop_y2=20',
           'crop_x1=-1&crop_y1=0&crop_x2=10&crop_y2=10', 'crop_x1=5&crop_x2=5&crop_y2=5']


@pytest.fixture(scope='module')
def servers(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp('images')) as cluster:
        cluster.kelp_master(env={'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1'})
        pair = [cluster.any_volume(kind, '-readMode=local', '-dataCenter=' + kind) for kind in ('kelp', 'weed')]
        for server, kind in zip(pair, ('kelp', 'weed')):
            server.vid = cluster.assign(dataCenter=kind, collection=kind)['fid'].split(',')[0]
        yield pair


def put(servers, name, data, headers=None, query=''):
    """Stores it on both under the same key; the key and cookie."""
    key = f'{next(KEYS):x}0000abcd'
    kinds = {'jpg': 'image/jpeg', 'jpeg': 'image/jpeg', 'png': 'image/png', 'gif': 'image/gif', 'webp': 'image/webp'}
    for server in servers:
        reply = http('PUT', f'{server.address}/{server.vid},{key}{query}', data,
                     {'Content-Type': kinds.get(name.lower().rsplit('.')[-1], 'application/octet-stream'),
                      'Content-Disposition': f'attachment; filename="{name}"', **(headers or {})})
        assert reply.status == 201, (name, reply.status, reply.body)
    return key


def ask(servers, path, method='GET', headers=None):
    return [http(method, f'{server.address}/{server.vid},{path}', None, headers) for server in servers]


def check_alike(ours, theirs, tolerance, what):
    """The same picture, but for what compression does to it; `tolerance` of the mean difference of a channel."""
    a, b = decoded(ours), decoded(theirs)
    assert a.size == b.size, what
    if a.format != b.format:  # the peer writes PNG where it cannot write WebP
        assert (a.format, b.format) == ('WEBP', 'PNG'), what
    a, b = a.convert('RGBA'), b.convert('RGBA')
    black = Image.new('RGBA', a.size, (0, 0, 0, 255))
    a, b = Image.alpha_composite(black, a).tobytes(), Image.alpha_composite(black, b).tobytes()
    mean = sum(abs(x - y) for x, y in zip(a, b)) / len(a)
    assert mean <= tolerance, (what, mean)


@pytest.mark.parametrize('name', PICTURES)
def test_every_size_and_mode_is_as_with_the_peer(servers, name):
    data, tolerance = PICTURES[name]
    key = put(servers, name, data)
    scaled = 0
    for query in QUERIES:
        ours, theirs = ask(servers, f'{key}?{query}')
        assert (ours.status, theirs.status) == (200, 200), query
        assert [ours.headers[h] for h in HEADERS] == [theirs.headers[h] for h in HEADERS], query
        if theirs.body == data:
            assert ours.body == data, query
        else:
            check_alike(ours.body, theirs.body, tolerance, query)
            scaled += 1
    assert scaled >= 16


@pytest.mark.parametrize('name', OTHERS)
def test_what_cannot_be_scaled_is_sent_as_it_is(servers, name):
    key = put(servers, name, OTHERS[name])
    for query in ('width=20', 'width=20&height=20&mode=fill', 'crop_x2=10&crop_y2=5'):
        for reply in ask(servers, f'{key}?{query}'):
            assert (reply.status, reply.body) == (200, OTHERS[name]), query


def test_the_url_names_the_format(servers):
    data = PICTURES['colour.png'][0]
    key = put(servers, 'colour.png', data)
    for path, kind in ((f'{key}.jpg', 'JPEG'), (f'{key}.JPG', 'JPEG'), (f'{key}.gif', 'GIF'), (f'{key}.png', 'PNG')):
        for reply in ask(servers, path + '?width=20'):
            assert (decoded(reply.body).format, decoded(reply.body).size) == (kind, (20, 10))
            assert reply.headers['Content-Type'] == 'image/png'  # as stored
    for path in (f'{key}.txt?width=20', f'{key}.webp?crop_x2=10&crop_y2=10'):
        assert all(reply.body == data for reply in ask(servers, path))
    for server in servers:
        reply = http('GET', f'{server.address}/{server.vid}/{key}/other.gif?width=20')
        assert decoded(reply.body).format == 'GIF'
        reply = http('GET', f'{server.address}/{server.vid}/{key}/other?width=20')
        assert reply.body == data


def test_webp_is_really_webp(servers):
    key = put(servers, 'lossy.webp', PICTURES['lossy.webp'][0])
    ours, theirs = ask(servers, f'{key}?width=20')
    assert decoded(ours.body).format == 'WEBP' and ours.headers['Content-Type'] == 'image/webp'
    assert decoded(theirs.body).size == (20, 10)


@pytest.mark.parametrize('query', ['width=20&mode=fit', 'height=10&mode=fill', 'width=-5&height=10',
                                   'width=20&height=-1'])
def test_one_dimension_is_enough_for_every_mode(servers, query):
    """The peer answers with a file that is empty, or no picture."""
    for name in ('colour.png', 'colour.jpg', 'still.gif', 'lossy.webp'):
        key = put(servers, name, PICTURES[name][0])
        assert decoded(ask(servers[:1], f'{key}?{query}')[0].body).size == (20, 10)


def test_a_sideways_picture_still_says_so(servers):
    """The peer loses the mark, and viewers show what it made lying on its side."""
    key = put(servers, 'SIDEWAYS.JPEG', PICTURES['SIDEWAYS.JPEG'][0])
    ours, theirs = (decoded(reply.body) for reply in ask(servers, f'{key}?width=20'))
    assert ours.size == theirs.size == (20, 10)
    assert ours.getexif()[0x112] == 6


def test_head_ranges_and_conditions(servers):
    key = put(servers, 'colour.png', PICTURES['colour.png'][0])
    for server in servers:
        path = f'{key}?width=20'
        whole, = ask([server], path)
        head, = ask([server], path, 'HEAD')
        assert (head.status, head.body) == (200, b'')
        assert head.headers['Content-Length'] == str(len(whole.body)) == whole.headers['Content-Length']
        part, = ask([server], path, headers={'Range': 'bytes=5-9'})
        assert (part.status, part.body) == (206, whole.body[5:10])
        assert part.headers['Content-Range'] == f'bytes 5-9/{len(whole.body)}'
        beyond, = ask([server], path, headers={'Range': f'bytes={len(whole.body)}-'})
        assert (beyond.status, beyond.headers['Content-Range']) == (416, f'bytes */{len(whole.body)}')
        plain, = ask([server], key)
        assert plain.headers['ETag'] == whole.headers['ETag']
        same, = ask([server], path, headers={'If-None-Match': whole.headers['ETag']})
        assert same.status == 304
        since, = ask([server], path, headers={'If-Modified-Since': whole.headers['Last-Modified']})
        assert since.status == 304


def test_a_compressed_picture_is_unpacked_when_it_is_wanted_smaller(servers):
    data = PICTURES['colour.png'][0]
    packed = gzip.compress(data, mtime=0)
    key = put(servers, 'colour.png', packed, {'Content-Encoding': 'gzip'})
    for reply in ask(servers, f'{key}?width=20', headers={'Accept-Encoding': 'gzip'}):
        assert reply.headers['Content-Encoding'] is None and decoded(reply.body).size == (20, 10)
    for reply in ask(servers, f'{key}?width=1000', headers={'Accept-Encoding': 'gzip'}):
        assert reply.headers['Content-Encoding'] is None and reply.body == data
    for query in ('width=0', 'mode=fit', 'crop_x1=3'):
        for reply in ask(servers, f'{key}?{query}', headers={'Accept-Encoding': 'gzip'}):
            assert reply.headers['Content-Encoding'] == 'gzip' and reply.body == packed


def test_a_big_picture_is_scaled_only_if_the_url_says_what_it_is(servers):
    data = encoded(Image.frombytes('RGB', (700, 700), random.Random(7).randbytes(700 * 700 * 3)), 'PNG')
    assert len(data) > 1 << 20
    key = put(servers, 'noise.png', data)
    for path in (f'{key}?width=20', f'{key}.txt?width=20', f'{key}.webp?crop_x2=10&crop_y2=10'):
        assert all(reply.body == data for reply in ask(servers, path)), path
    for path in (f'{key}.png?width=20', f'{key}.png?crop_x2=10&crop_y2=10'):
        ours, theirs = ask(servers, path)
        check_alike(ours.body, theirs.body, 0.5, path)


def test_a_picture_in_chunks_is_put_together_first(servers):
    data = PICTURES['colour.png'][0]
    for server in servers:
        fids = []
        for piece in (data[:70], data[70:]):
            fids.append(f'{server.vid},{put([server], "chunk", piece)}')
        manifest = {'name': 'm.png', 'mime': 'image/png', 'size': len(data), 'chunks': [
            {'fid': fids[0], 'offset': 0, 'size': 70}, {'fid': fids[1], 'offset': 70, 'size': len(data) - 70}]}
        key = put([server], 'manifest', json.dumps(manifest).encode(), query='?cm=true')
        for method in ('GET', 'HEAD'):
            reply, = ask([server], f'{key}?width=20', method)
            assert (reply.status, reply.headers['X-File-Store']) == (200, 'chunked')
            assert reply.headers['Content-Type'] == 'image/png'
            if method == 'GET':
                assert decoded(reply.body).size == (20, 10)
                assert reply.body[20:40] == ask([server], f'{key}?width=20', headers={'Range': 'bytes=20-39'})[0].body
        assert ask([server], key)[0].body == data
        assert ask([server], f'{key}?cm=false&width=20')[0].body == json.dumps(manifest).encode()
        # A chunk that is not there.
        manifest['chunks'][1]['fid'] = f'{server.vid},ffff0000abcd'
        key = put([server], 'manifest', json.dumps(manifest).encode(), query='?cm=true')
        assert ask([server], f'{key}?width=20')[0].status == 500


def test_a_bomb_is_not_set_off(servers):
    bomb = encoded(Image.new('1', (20000, 20000)), 'PNG')
    kelp = servers[0]
    key = put([kelp], 'bomb.png', bomb)
    with open(f'/proc/{kelp.pid}/clear_refs', 'w') as file:
        file.write('5')  # the peak of memory is counted anew
    for query in ('width=20', 'height=20&mode=fit', 'crop_x2=10&crop_y2=10'):
        reply, = ask([kelp], f'{key}?{query}')
        assert (reply.status, reply.body) == (200, bomb)
    # Nor one that only becomes one.
    key = put([kelp], 'thin.png', encoded(Image.new('RGB', (60000, 1)), 'PNG'))
    reply, = ask([kelp], f'{key}?width=50000&height=60000')
    assert decoded(reply.body).size == (60000, 1)
    with open(f'/proc/{kelp.pid}/status') as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith('VmHWM'))
    assert peak < 100 << 10


@pytest.mark.parametrize('kind', ['kelp', 'weed'])
def test_uploads_are_turned_upright_when_that_is_asked(tmp_path, kind):
    picture = Image.new('RGB', (64, 32))
    picture.paste((255, 0, 0), (0, 0, 32, 16))
    picture.paste((0, 255, 0), (32, 0, 64, 16))
    picture.paste((0, 0, 255), (0, 16, 32, 32))
    with Cluster(tmp_path) as cluster:
        cluster.kelp_master(env={'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1'})
        server = cluster.any_volume(kind, '-images.fix.orientation')
        server.vid = cluster.assign()['fid'].split(',')[0]
        upright = {}
        for orientation in range(1, 9):
            data = encoded(picture, 'JPEG', quality=95, exif=exif(orientation))
            stored = ask([server], put([server], 'x.jpg', data))[0].body
            if orientation == 1:
                assert stored == data
            turned = decoded(stored)
            assert turned.getexif().get(0x112, 1) == 1
            width, height = turned.size
            upright[orientation] = (width, height), [
                tuple(round(c / 255) for c in turned.getpixel((x, y)))
                for x in (4, width - 5) for y in (4, height - 5)]
        red, green, blue, black = (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)
        wide, tall = (64, 32), (32, 64)
        assert upright == {1: (wide, [red, blue, green, black]), 2: (wide, [green, black, red, blue]),
                           3: (wide, [black, green, blue, red]), 4: (wide, [blue, red, black, green]),
                           5: (tall, [red, green, blue, black]), 6: (tall, [blue, black, red, green]),
                           7: (tall, [black, blue, green, red]), 8: (tall, [green, red, black, blue])}
        # By type or by name; what the client had compressed, and what is no JPEG, stays.
        for name, data, is_turned in (('x.JPG', data, True), ('x.png', data, False), ('y.jpg', b'no picture', False)):
            key = put([server], name, data, {'Content-Type': 'application/octet-stream'})
            assert (ask([server], key)[0].body != data) == is_turned, name
        key = put([server], 'x.jpg', gzip.compress(data), {'Content-Encoding': 'gzip'})
        assert ask([server], key)[0].body == data
