"""Servers to measure, kelp beside weed, and what is read off them."""
import contextlib
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from lib.cluster import Cluster, http, wait_until  # noqa: E402

BLOB_SIZE = 1024
KINDS = ('kelp', 'weed')
VOLUMES = {'WEED_MASTER_VOLUME_GROWTH_COPY_1': '4'}
TICKS = os.sysconf('SC_CLK_TCK')


@contextlib.contextmanager
def servers(folder, kind, data=None):
    """A master with one volume server, both of a kind: (cluster, volume server)."""
    with Cluster(folder) as cluster:
        cluster.any_master(kind, '-volumeSizeLimitMB=30000', '-garbageThreshold=0.99', env=VOLUMES)
        yield cluster, cluster.any_volume(kind, '-minFreeSpace=1', data=data)


def cpu_seconds(server):
    fields = pathlib.Path(f'/proc/{server.pid}/stat').read_text().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(server):
    for line in pathlib.Path(f'/proc/{server.pid}/status').read_text().splitlines():
        if line.startswith('VmRSS:'):
            return int(line.split()[1]) / 1024
    raise ValueError('no VmRSS')


def assign_on_all_volumes(cluster, collection, total):
    """Keys in bulk, the same number on each of the collection's volumes: {fid: count}. Without the size of a blob
    a master takes 1 MiB for each, and the volumes for full."""
    wanted = int(VOLUMES['WEED_MASTER_VOLUME_GROWTH_COPY_1'])
    found = {}

    def has_all():
        fid = cluster.assign(collection=collection, count=total // wanted, dataSize=BLOB_SIZE)['fid']
        found.setdefault(fid.split(',')[0], fid)
        return len(found) == wanted
    wait_until(has_all, f'{wanted} volumes of {collection}', pause=0.005)
    return {fid: total // wanted for fid in found.values()}


def drop_collection(cluster, collection):
    http('POST', f'{cluster.master}/col/delete?collection={collection}')


def run_client(*arguments, **options):
    return subprocess.run([os.environ['KELP_BLOB_CLIENTS'], *map(str, arguments)], check=True, **options)


class Results:
    """Figures by name; each is measured several times on either kind."""

    def __init__(self):
        self.rows = {}

    def add(self, name, unit, kind, value, more_is_better=False, digits=1):
        row = self.rows.setdefault((name, unit), {'unit': unit, 'more_is_better': more_is_better, 'digits': digits,
                                          **{k: [] for k in KINDS}})
        row[kind].append(value)

    def summary(self):
        for (name, _), row in self.rows.items():
            median = {k: statistics.median(row[k]) if row[k] else None for k in KINDS}
            kelp, weed = median['kelp'], median['weed']
            gain = None
            if kelp and weed:
                gain = kelp / weed if row['more_is_better'] else weed / kelp
            yield {'name': name, **row, 'median': median, 'kelp_is_better_by': gain}

    def print(self, out=sys.stdout):
        out.write(f'{"":44}{"kelp":>12}{"weed":>12}   kelp is better by\n')
        for row in self.summary():
            cells = ''.join(f'{row["median"][k]:12,.{row["digits"]}f}' if row['median'][k] is not None else f'{"-":>12}'
                            for k in KINDS)
            gain = row['kelp_is_better_by']
            gain_text = f'{gain:9.2f} x' if gain else '-'
            out.write(f'{row["name"] + ", " + row["unit"]:44}{cells}   {gain_text}\n')
