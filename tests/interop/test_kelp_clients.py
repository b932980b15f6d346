"""kelp's command line clients on a cluster of the peer alone."""
import hashlib
import json
import os
import re

import pytest
from lib.cluster import Cluster, kelp_binary, run, weed_binary


@pytest.fixture(scope='module')
def weed(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp('weed')) as cluster:
        cluster.weed_master()
        cluster.weed_volume()
        yield cluster


@pytest.mark.parametrize('downloader', ['kelp', 'weed'])
@pytest.mark.parametrize('uploader', ['kelp', 'weed'])
def test_what_one_uploads_the_other_downloads(weed, tmp_path, uploader, downloader):
    binaries = {'kelp': kelp_binary(), 'weed': weed_binary()}
    source, target = tmp_path / 'in', tmp_path / 'out'
    source.mkdir()
    target.mkdir()
    for name, data in (('small.txt', b'words, ' * 100), ('one.bin', b'1'), ('chunked.bin', os.urandom(9 << 20))):
        (source / name).write_bytes(data)
    fids = {}
    for path in source.iterdir():
        row, = json.loads(run([binaries[uploader], 'upload', f'-master={weed.master}', '-maxMB=4', path],
                              cwd=tmp_path).stdout)
        fids[row['fileName']] = row['fid']
    assert sorted(fids) == sorted(p.name for p in source.iterdir())
    for name, fid in fids.items():
        run([binaries[downloader], 'download', f'-master={weed.master}', f'-dir={target}', fid], cwd=tmp_path)
        assert (hashlib.sha256((target / name).read_bytes()).digest() ==
                hashlib.sha256((source / name).read_bytes()).digest()), name


def test_the_benchmark_has_no_failed_request(weed):
    done = run([kelp_binary(), 'benchmark', '-n=4000', '-c=8', f'-master={weed.master}',
                f'-list={weed.folder}/list.txt'], cwd=weed.folder)
    assert re.findall(r'^Complete[d]? requests:\s+(\d+)', done.stdout, re.M) == ['4000', '4000'], done.stdout
    assert re.findall(r'^Failed requests:\s+(\d+)', done.stdout, re.M) == ['0', '0'], done.stdout
