"""Memory of an idle volume server, with its blobs, and how soon it serves them after a start."""
import time

from lib.cluster import http, wait_until
from meters import BLOB_SIZE, KINDS, rss_mb, run_client, servers

SETTLE = 1.0  # seconds after which a server counts as idle


def seconds_until_served(server, path):
    started = time.monotonic()
    server.start()
    wait_until(lambda: server.check_alive() and http('GET', f'{server.address}{path}').status == 200,
               'the blob is served', pause=0.001)
    return time.monotonic() - started


def one_round(results, folder, kind, blobs):
    folder.mkdir(parents=True)
    with servers(folder, kind) as (cluster, server):
        time.sleep(SETTLE)
        results.add('RSS empty', 'MB', kind, rss_mb(server))
        fid = cluster.assign(count=blobs, dataSize=BLOB_SIZE)['fid']
        run_client('send', 'PUT', server.port, fid, 0, 1, blobs)
        time.sleep(SETTLE)
        results.add(f'RSS after storing {blobs:,}', 'MB', kind, rss_mb(server))
        server.stop()
        results.add(f'start to first GET with {blobs:,}', 'ms', kind, 1e3 * seconds_until_served(server, f'/{fid}'))
        time.sleep(SETTLE)
        results.add(f'RSS after start with {blobs:,}', 'MB', kind, rss_mb(server))


def measure(results, folder, options, _stack):
    for number in range(options.rounds):
        for kind in KINDS:
            if kind in options.kinds:
                one_round(results, folder / f'{kind}-{number}', kind, options.keys)
