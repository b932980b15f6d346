"""The measuring program works: every figure comes out for both servers. It judges none of them."""
import json
import os
import pathlib
import subprocess


def test_a_quick_run_yields_every_figure(tmp_path):
    figures = tmp_path / 'figures.json'
    bench = pathlib.Path(__file__).parent / 'run'
    done = subprocess.run([bench, '--quick', '--folder', tmp_path, '--json', figures], capture_output=True,
                          text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(figures.read_text())
    names = {(row['name'], row['unit']) for row in rows}
    for name in ('GET', 'PUT', 'DELETE', 'PUT ?fsync=true'):
        assert {(name, 'requests/s'), (name, 'server CPU us')} <= names
    for name in (('vacuum alone', 'MB/s live'), ('longest write in commit', 'ms'), ('RSS empty', 'MB')):
        assert name in names
    for row in rows:
        assert row['name'] in done.stdout
        if row['name'].endswith(('in copy', 'in commit')):
            continue  # so little is vacuumed here that it may be over before a client's next request
        assert len(row['kelp']) == len(row['weed']) == 1, row
        assert row['median']['kelp'] >= 0
    assert all(row['median'][kind] > 0 for row in rows for kind in ('kelp', 'weed')
               if row['unit'] in ('requests/s', 'MB', 'MB/s live'))
    assert os.listdir(tmp_path) == ['figures.json']  # nothing stays behind
