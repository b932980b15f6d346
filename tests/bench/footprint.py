"""Memory of an idle volume server, with its blobs, and how soon it serves them after a start."""
import time

from meters import BLOB_SIZE, KINDS, rss_mb, run_client, servers, start_until_served

ROUNDS = 5


def one_round(results, folder, kind, options):
    blobs = options.keys
    folder.mkdir(parents=True)
    with servers(folder, kind) as (cluster, server):
        time.sleep(options.settle)
        results.add('RSS empty', 'MB', kind, rss_mb(server))
        fid = cluster.assign(count=blobs, dataSize=BLOB_SIZE)['fid']
        run_client('send', 'PUT', server.port, fid, 0, 1, blobs)
        time.sleep(options.settle)
        results.add(f'RSS after storing {blobs:,}', 'MB', kind, rss_mb(server))
        server.stop()
        results.add(f'start to first GET with {blobs:,}', 'ms', kind,
                    1e3 * start_until_served(server, f'/{fid}')[0])
        time.sleep(options.settle)
        results.add(f'RSS after start with {blobs:,}', 'MB', kind, rss_mb(server))


def measure(results, folder, options, _stack):
    for number in range(options.rounds or ROUNDS):
        for kind in KINDS:
            if kind in options.kinds:
                one_round(results, folder / f'{kind}-{number}', kind, options)
