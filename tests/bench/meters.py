"""Servers to measure, kelp beside weed, and what is read off them."""
import contextlib
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from lib.cluster import Cluster, http, wait_until  # noqa: E402

BLOB_SIZE = 1024
KINDS = ('kelp', 'weed')
VOLUMES = {'WEED_MASTER_VOLUME_GROWTH_COPY_1': '4'}
ASSIGN_MOST = 1_000_000  # keys that a master hands out at once
MADE_COOKIE = '12345678'  # of all blobs of make_volume


@contextlib.contextmanager
def servers(folder, kind, *flags, data=None):
    """A master with one volume server, both of a kind: (cluster, volume server)."""
    with Cluster(folder) as cluster:
        cluster.any_master(kind, '-volumeSizeLimitMB=30000', '-garbageThreshold=0.99', env=VOLUMES)
        yield cluster, cluster.any_volume(kind, '-minFreeSpace=1', *flags, data=data)


def cpu_seconds(server):
    """Of all threads of its process (or processes, where it has `pids`) so far, ended ones too, to the nanosecond:
    its CPU clock."""
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in getattr(server, 'pids', [server.pid]))


def rss_bytes(server):
    for line in pathlib.Path(f'/proc/{server.pid}/status').read_text().splitlines():
        if line.startswith('VmRSS:'):
            return int(line.split()[1]) * 1024
    raise ValueError('no VmRSS')


def rss_mb(server):
    return rss_bytes(server) / 1024 / 1024


def start_until_served(server, path):
    """Starts a server that has been stopped; (wall, its CPU) seconds until a GET of the path is answered."""
    started = time.monotonic()
    server.start()
    wait_until(lambda: server.check_alive() and http('GET', f'{server.address}{path}').status == 200,
               'the blob is served', deadline=300, pause=0.005)
    return time.monotonic() - started, cpu_seconds(server)


def assign_on_all_volumes(cluster, collection, total):
    """Keys in bulk, the same number on each of the collection's volumes: {fid: count}; fewer than `total` where
    that is more than a volume's share can be. Without the size of a blob a master takes 1 MiB for each, and the
    volumes for full."""
    wanted = int(VOLUMES['WEED_MASTER_VOLUME_GROWTH_COPY_1'])
    count = min(total // wanted, ASSIGN_MOST)
    found = {}

    def has_all():
        fid = cluster.assign(collection=collection, count=count, dataSize=BLOB_SIZE)['fid']
        found.setdefault(fid.split(',')[0], fid)
        return len(found) == wanted
    wait_until(has_all, f'{wanted} volumes of {collection}', pause=0.005)
    return {fid: count for fid in found.values()}


def drop_collection(cluster, collection):
    http('POST', f'{cluster.master}/col/delete?collection={collection}')


def run_client(*arguments, **options):
    return subprocess.run([os.environ['KELP_BLOB_CLIENTS'], *map(str, arguments)], check=True, **options)


def make_volume(folder, count, keys, min_bytes, max_bytes, kind):
    """The files of volume 1 of collection `bench`, made by make_volume.c; the fid of its last blob."""
    folder.mkdir(parents=True)
    command = [os.environ['KELP_MAKE_VOLUME'], folder, 'bench_1', count, keys, min_bytes, max_bytes, kind]
    done = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True)
    return f'1,{done.stdout.strip()}{MADE_COOKIE}'


def touch_memory(folder, size):
    """A virtual machine's host takes back memory that has been free for a while, and whoever touches it next pays for
    it, several times what a copy costs. So pages for so many bytes of files are made sure of first, for everybody."""
    scratch = pathlib.Path(folder) / 'touched'
    with open(scratch, 'wb') as file:
        for _ in range(0, size, 1 << 20):
            file.write(bytes(1 << 20))
    scratch.unlink()


def copy_files(source, target):
    """Into a folder that is there; on the disk, or the kernel would write them back while something is measured."""
    subprocess.run(['cp', '-r', '--sparse=always', f'{source}/.', str(target)], check=True)
    subprocess.run(['sync', '-f', str(target)], check=True)
