"""The digest in a volume server's heartbeat agrees with what its master made of all beats before, through a mixed
load: a master that disagrees asks for the full list again, which costs a large cluster dear. The masters count."""
import os
import random
import re
import time

import pytest
from lib.cluster import free_port, http, wait_until

LOAD_SECONDS = 8


def counts(address):
    text = http('GET', f'{address}/metrics').body.decode()
    found = re.findall(r'^SeaweedFS_master_received_heartbeats\{type="(\w+)"\} (\d+)', text, re.M)
    return {name: int(value) for name, value in found}


def load(cluster, server, seconds):
    """Everything that changes what a beat tells; each step waits for its effect at the volume server alone."""
    chance, shell, end = random.Random(7), cluster.kelp_shell, time.monotonic() + seconds
    steps = 0
    while time.monotonic() < end:
        collection = f'c{steps % 4}'
        blobs = list(cluster.put_many([os.urandom(chance.randrange(1, 30000)) for _ in range(30)],
                                      collection=collection))
        for fid in blobs[::2]:
            assert http('DELETE', f'{server.address}/{fid}').status == 202
        vid = blobs[0].split(',')[0]
        shell(['volume.vacuum -garbageThreshold=0.01 -volumeId=' + vid,
               f'volume.mark -node={server.address} -volumeId={vid} -readonly',
               f'volume.unmount -node={server.address} -volumeId={vid}',
               f'volume.grow -collection={collection} -count=1',
               f'collection.delete -collection={collection} -apply'][steps % 5])
        if steps % 5 == 1:
            shell(f'volume.mark -node={server.address} -volumeId={vid} -writable')
        if steps % 5 == 2:
            shell(f'volume.mount -node={server.address} -volumeId={vid}')
        steps += 1
    return steps


@pytest.mark.parametrize('master,volume', [('kelp', 'kelp'), ('kelp', 'weed'), ('weed', 'kelp')])
def test_the_digest_agrees_through_a_mixed_load(cluster, master, volume):
    port = free_port()
    cluster.any_master(master, '-volumeSizeLimitMB=64', f'-metricsPort={port}', '-metricsIp=127.0.0.1',
                       env={'WEED_MASTER_VOLUME_GROWTH_COPY_1': '2'})
    server = cluster.any_volume(volume)
    seen = lambda: counts(f'127.0.0.1:{port}')
    assert load(cluster, server, LOAD_SECONDS) >= 5
    before = seen().get('volumeDigestMatch', 0)
    wait_until(lambda: seen()['volumeDigestMatch'] >= before + 2, 'two more beats that agree')
    after = seen()
    wrong = after.get('volumeDigestMismatch', 0)
    # A beat on its way while a collection is deleted still counts what its master has forgotten. The peer's servers
    # forget to mention a volume that was unmounted and mounted within one pulse; its master remembers a volume that
    # was deleted while it was being grown.
    assert wrong <= 1, after
    assert after['dataNode'] == 1 and after['Volumes'] == 1 + wrong, after  # else the first list is the only one
    assert after['newVolumes'] > 0 and after['changedVolumes'] > 0, after
