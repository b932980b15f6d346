"""The page of a volume server: readable without script, safe with what others have named, small with thousands of
volumes; and in a real browser."""
import os
import pathlib
import re
import shutil
import struct
import subprocess
import threading
import time

import pytest

from lib.cluster import free_port, http, wait_until

EVIL = '<b>&"evil'
POLICY = re.compile(r"default-src 'none'; style-src 'sha256-[\w+/=]+'; script-src 'sha256-[\w+/=]+'; connect-src 'self'; .*")


def page(server, query='', path='/ui/index.html'):
    reply = http('GET', f'{server.address}{path}{query}')
    assert reply.status == 200, (path, reply.status, reply.body)
    return reply.body.decode()


def element(text, name):
    """What is in the element of that id, up to the next one that has an id."""
    return re.search(rf'id="{name}"[^>]*>(.*?)(?= id="|</main>)', text, re.S).group(1)


def browser():
    path = os.environ.get('KELP_CHROMIUM') or shutil.which('chromium')
    if not path:
        pytest.fail('no chromium here, so nobody has looked at the page: scripts/install-deps installs it, '
                    'KELP_CHROMIUM names another')
    return path


def browse(folder, url, *flags):
    command = [browser(), '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
               '--hide-scrollbars', f'--user-data-dir={folder}/profile', *flags, url]
    done = subprocess.run(command, capture_output=True, timeout=120, cwd=folder)
    assert done.returncode == 0, (command, done.stderr[-2000:])
    return done.stdout.decode()


def fill(cluster):
    """A cluster with two disks, names that hurt, garbage, a read-only volume."""
    cluster.kelp_master()
    first, second = cluster.folder / 'disk-a', cluster.folder / 'disk-b'
    first.mkdir()
    second.mkdir()
    server = cluster.kelp_volume('-max=40,40', '-rack=r7', '-dataCenter=fra', '-compactionMBps=1',
                                 data=f'{first},{second}')
    blobs = {}
    for collection in ('', 'pictures', EVIL):
        blobs.update(cluster.put_many([os.urandom(40_000) for _ in range(40)], collection=collection))
    for fid in list(blobs)[::2]:
        assert http('DELETE', f'{server.address}/{fid}').status == 202
    marked = next(volume['id'] for volume in cluster.volumes_listed() if volume['collection'] == 'pictures')
    cluster.kelp_shell(f'volume.mark -node={server.address} -volumeId={marked} -readonly')
    return server, blobs


def test_all_of_it_is_there_without_script(cluster):
    server, blobs = fill(cluster)
    text = page(server)
    assert element(page(server, path='/'), 'volume-table') == element(text, 'volume-table')
    for fact in (f'Volume server {server.address}', '>serving<', 'disk-a', 'disk-b', 'fra', 'r7', 'in memory',
                 'synced on request', 'read-only: operator', '<b>60</b><span>files', 'None is running.'):
        assert fact in text, fact
    volumes = http('GET', f'{server.address}/status').json['Volumes']
    assert element(text, 'volume-table').count('<tr><td') == len(volumes)
    assert f'<b>{len(volumes)}</b><span>volumes' in text
    assert EVIL not in text and '&lt;b&gt;&amp;&#34;evil' in text

    head = http('HEAD', f'{server.address}/ui/index.html')
    assert (head.status, head.body) == (200, b'')
    answer = http('GET', f'{server.address}/ui/index.html')
    assert answer.headers['Content-Type'] == 'text/html; charset=utf-8'
    assert POLICY.fullmatch(answer.headers['Content-Security-Policy'])
    assert answer.headers['Cache-Control'] == 'no-store'
    assert answer.headers['Server'].startswith('SeaweedFS Volume ')


def test_volumes_are_chosen_and_sorted_by_the_query(cluster):
    server, _ = fill(cluster)
    table = element(page(server, '?show=read-only'), 'volume-table')
    assert table.count('<tr><td') == 1 and 'read-only: operator' in table
    table = element(page(server, '?q=pict&sort=size'), 'volume-table')
    assert table.count('<tr><td') == table.count('>pictures<') > 0
    sizes = re.findall(r'</td><td class="n">([\d.]+ (?:B|[KM]iB))</td>', table)
    assert sizes[0].endswith('MiB') and sizes[-1] == '8 B'
    assert 'No volume is like that.' in page(server, '?q=none')
    hurt = page(server, '?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&show=%00&sort=%FF&page=-1')
    assert 'alert(1)<' not in hurt and '&#34;&gt;&lt;script&gt;alert(1)' in hurt


def test_a_running_vacuum_is_shown_with_its_progress(cluster):
    server, blobs = fill(cluster)
    vacuum = threading.Thread(
        target=lambda: cluster.kelp_shell('volume.vacuum -garbageThreshold=0.1', check=False))
    vacuum.start()
    try:
        shown = wait_until(lambda: re.search(r'<b>Volume (\d+)</b>.*?pill ok">(\w+)<.*?>(\d+) %',
                                             element(page(server), 'vacuums'), re.S), 'a vacuum is shown')
        assert shown.group(2) in ('copying', 'copied', 'committing')
        assert 'data-busy' in page(server)
    finally:
        vacuum.join()
    wait_until(lambda: 'None is running.' in page(server), 'it has ended')
    for fid in list(blobs)[1::2]:
        assert http('GET', f'{server.address}/{fid}').body == blobs[fid]


def test_only_the_admin_port_has_it_and_only_for_reading(cluster):
    cluster.kelp_master()
    public = free_port()
    server = cluster.kelp_volume(f'-port.public={public}')
    assert http('GET', f'127.0.0.1:{public}/ui/index.html').status == 400
    assert http('GET', f'127.0.0.1:{public}/').status == 400
    assert http('POST', f'{server.address}/', b'x').status == 400
    assert http('DELETE', f'{server.address}/').status == 400
    assert http('GET', f'{server.address}/ui/').status == 400


def test_what_the_log_warns_of_is_on_the_page(cluster):
    master = cluster.kelp_master()
    server = cluster.kelp_volume()
    assert 'None since it started.' in page(server)
    master.kill()
    wait_until(lambda: 'no master answers' in page(server), 'the master is missed')
    errors = element(page(server), 'errors')
    assert 'heartbeat lost' in errors and f'master={master.address}' in errors


@pytest.mark.parametrize('wish, status', [('', 400), ('true', 200)])
def test_a_key_for_writing_hides_it_unless_asked_for(cluster, monkeypatch, wish, status):
    monkeypatch.setenv('WEED_JWT_SIGNING_KEY', 'secret')
    monkeypatch.setenv('WEED_ACCESS_UI', wish)
    cluster.kelp_master()
    server = cluster.kelp_volume()
    for path in ('/', '/ui/index.html'):
        assert http('GET', f'{server.address}{path}').status == status
    assert http('GET', f'{server.address}/favicon.ico').status == 200


def make_volumes(folder, count):
    """Empty ones, as files: a super block of version 3 each."""
    folder.mkdir()
    for vid in range(1, count + 1):
        (folder / f'{vid}.dat').write_bytes(bytes([3, 0, 0, 0, 0, 0, 0, 0]))
        (folder / f'{vid}.idx').write_bytes(b'')


def test_three_thousand_volumes_make_a_small_page_soon(cluster):
    make_volumes(cluster.folder / 'many', 3000)
    cluster.kelp_master()
    server = cluster.kelp_volume('-max=3000', data=cluster.folder / 'many')
    wait_until(lambda: '<b>3,000</b><span>volumes' in page(server), 'all are loaded')
    began = time.monotonic()
    text = page(server)
    took = time.monotonic() - began
    assert len(text) < 150_000 and took < 2, (len(text), took)
    assert 'page 1 of 30' in text
    seen = re.findall(r'<tr><td class="n">(\d+)<', element(page(server, '?page=30'), 'volume-table'))
    assert seen == [str(vid) for vid in range(2901, 3001)]
    assert element(page(server, '?q=2345'), 'volume-table').count('<tr><td') == 1


def size_of_png(path):
    data = path.read_bytes()
    assert data[:8] == b'\x89PNG\r\n\x1a\n'
    return struct.unpack('>II', data[16:24])


def test_a_browser_shows_and_refreshes_it(cluster):
    """Its policy must let the page's own style and script through, and nothing else. Pictures are kept in
    KELP_PAGE_PICTURES, if that is set."""
    server, _ = fill(cluster)
    pictures = pathlib.Path(os.environ.get('KELP_PAGE_PICTURES', cluster.folder))
    plain = browse(cluster.folder, f'http://{server.address}/', '--virtual-time-budget=1000', '--dump-dom')
    assert '>refreshes itself<' in plain, 'the script has not run'
    later = browse(cluster.folder, f'http://{server.address}/', '--virtual-time-budget=11500', '--dump-dom')
    assert 'refreshed at ' in later, 'the script has not fetched the page again'
    for name, flags in {'light': ['--window-size=1280,1600'],
                        'dark': ['--window-size=1280,1600', '--blink-settings=preferredColorScheme=0'],
                        'narrow': ['--window-size=500,1600']}.items():
        picture = pictures / f'page-{name}.png'
        browse(cluster.folder, f'http://{server.address}/', f'--screenshot={picture}', *flags)
        assert size_of_png(picture)[1] == 1600
        assert picture.stat().st_size > 30_000, 'a page without its style is smaller'


def test_a_browser_runs_no_script_of_others(cluster):
    server, _ = fill(cluster)
    text = browse(cluster.folder, f'http://{server.address}/?q=%22%3E%3Cimg%20src=x%20onerror=document.title=1%3E',
                  '--virtual-time-budget=1000', '--dump-dom')
    assert f'<title>{server.address} – kelp volume server</title>' in text
    assert '<img' not in text.replace('&lt;img', '')
