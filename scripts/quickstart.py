"""The second half of scripts/quickstart: the tour itself, with the binary in KELP_BINARY."""
import hashlib
import json
import os
import pathlib
import shutil
import struct
import sys
import tempfile
import time
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'tests'))

from lib.cluster import Server, free_port, http, kelp_binary, run, wait_until  # noqa: E402

LARGE = 50 << 20


def say(text):
    print(text, flush=True)


def fail(text):
    print(f'quickstart: FAILED: {text}', file=sys.stderr)
    sys.exit(1)


def size_text(size):
    for unit in ('bytes', 'KiB', 'MiB', 'GiB'):
        if size < 10240 or unit == 'GiB':
            return f'{size:.0f} {unit}'
        size /= 1024


def picture(index):
    """A small PNG, all its own."""
    width = height = 64 + index
    rows = b''.join(b'\0' + bytes(((x * index) ^ y) & 255 for x in range(width)) for y in range(height))

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)) +
            chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))


def collect(folder):
    """A few hundred files: texts of this tree and of the system, programs, pictures, an empty one, a
    large one. Returns {path: digest}."""
    top = pathlib.Path(__file__).resolve().parent.parent
    texts = [p for p in sorted(top.rglob('*')) if p.suffix in ('.c', '.h', '.md', '.proto', '.py')
             and 'build' not in p.parts and p.is_file()][:150]
    texts += [p for p in sorted(pathlib.Path('/usr/share/common-licenses').glob('*')) if p.is_file()]
    programs = [p for p in sorted(pathlib.Path('/usr/bin').iterdir())
                if p.is_file() and not p.is_symlink() and os.access(p, os.R_OK)
                and 4096 < p.stat().st_size < 2 << 20][:120]
    for index, path in enumerate(texts + programs):
        shutil.copyfile(path, folder / f'{index:03d}-{path.name}')
    for index in range(40):
        (folder / f'picture-{index:02d}.png').write_bytes(picture(index))
    (folder / 'empty.txt').write_bytes(b'')
    (folder / 'large.bin').write_bytes(os.urandom(1 << 20) * (LARGE >> 20))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def read_back(url, fid, digest, name):
    reply = http('GET', f'{url}/{fid}')
    if reply.status != 200 or hashlib.sha256(reply.body).hexdigest() != digest:
        fail(f'{name} ({fid}) reads back differently: status {reply.status}, {len(reply.body)} bytes')


def dat_bytes(folder):
    return sum(path.stat().st_size for path in folder.glob('*.dat'))


def shell(master, line):
    return run([kelp_binary(), 'shell', f'-master={master}', '-json', '-c', line]).stdout


def garbage(master):
    volumes = json.loads(shell(master, 'volume.list'))['volumes']
    stored = sum(v['size'] for v in volumes)
    return sum(v['deletedBytes'] for v in volumes), stored


def tour(root, server, master, volume, data):
    files = root / 'files'
    files.mkdir()
    digests = collect(files)
    total = sum(p.stat().st_size for p in files.iterdir())
    say(f'collected {len(digests)} files, {size_text(total)}: texts, programs, pictures, an empty one, one '
        f'of {size_text(LARGE)}')

    started = time.monotonic()
    done = run([kelp_binary(), 'upload', f'-master={master}', f'-dir={files}'])
    stored = json.loads(done.stdout)
    say(f'uploaded {len(stored)} of them in {time.monotonic() - started:.1f} s, '
        f'for example {stored[0]["fileName"]} as {stored[0]["fid"]}')
    if len(stored) != len(digests) or any('error' in row for row in stored):
        fail(f'not all files were stored: {done.stdout[:500]}')
    for row in stored:
        read_back(volume, row['fid'], digests[row['fileName']], row['fileName'])
    say(f'read all {len(stored)} back: byte-equal')

    large = [row for row in stored if row['fileName'] == 'large.bin']
    rest = [row for row in stored if row['fileName'] != 'large.bin']
    deleted, kept = large + rest[::2], rest[1::2]
    before = dat_bytes(data)
    for row in deleted:
        reply = http('DELETE', f'{volume}/{row["fid"]}')
        if reply.status != 202:
            fail(f'deleting {row["fid"]} answered {reply.status} {reply.body[:200]}')
    dead, size = wait_until(lambda: garbage(master) if garbage(master)[0] > total / 3 else None,
                            'the master hears of the deletions')
    say(f'deleted {len(deleted)}, the large one among them: {100 * dead / size:.0f} % of '
        f'{size_text(size)} is garbage now')

    say('kelp shell> volume.vacuum -garbageThreshold=0.01')
    for job in shell(master, 'volume.vacuum -garbageThreshold=0.01').splitlines():
        row = json.loads(job)
        for replica in row['replicas']:
            if replica.get('result') == 'done':
                say(f'  volume {row["volumeId"]}: garbage {100 * replica["garbageRatio"]:.0f} %, '
                    f'{size_text(replica["sizeBefore"])} -> {size_text(replica["sizeAfter"])}')
    after = dat_bytes(data)
    say(f'the .dat files: {size_text(before)} before, {size_text(after)} after')
    if after > before - total / 3:
        fail('the vacuum did not give the space back')
    for row in kept:
        read_back(volume, row['fid'], digests[row['fileName']], row['fileName'])
    for row in deleted:
        reply = http('GET', f'{volume}/{row["fid"]}')
        if reply.status != 404:
            fail(f'deleted {row["fid"]} answers {reply.status}')
    say(f'the other {len(kept)} still read back byte-equal; the deleted ones are not found')
    return kept


def main():
    keep = '--keep' in sys.argv[1:]
    root = pathlib.Path(tempfile.mkdtemp(prefix='kelp-quickstart-'))
    data = root / 'data'
    data.mkdir()
    master_port, volume_port = free_port(), free_port()
    master, volume = f'127.0.0.1:{master_port}', f'127.0.0.1:{volume_port}'
    server = Server('server', [kelp_binary(), 'server', '-ip=127.0.0.1', f'-dir={data}',
                               f'-master.port={master_port}', f'-volume.port={volume_port}',
                               '-volume.max=20', '-volume.preStopSeconds=1',
                               '-volume.pulseMilliseconds=1000'], root).start()
    try:
        wait_until(lambda: server.check_alive() and
                   'fid' in http('GET', f'{master}/dir/assign').json, 'the cluster is up')
        say(f'started kelp server: master http://{master}, volume server http://{volume}, data in {data}')
        kept = tour(root, server, master, volume, data)
        if keep:
            say(f'the cluster goes on (process {server.pid}, log {server.log_path}); try:')
            say(f'  curl -F file=@README.md http://{master}/submit')
            say(f'  curl -O http://{volume}/{kept[0]["fid"]}')
            say(f'  {kelp_binary()} shell -master={master}')
            return
        status = server.stop()
        if status != 0:
            fail(f'the server ended with status {status}:\n{server.log()[-2000:]}')
        say('stopped cleanly; all is well')
    except AssertionError as error:
        fail(f'{error}\n{server.log()[-2000:]}')
    finally:
        if not keep:
            server.kill()
            shutil.rmtree(root, ignore_errors=True)


if __name__ == '__main__':
    main()
