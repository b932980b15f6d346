"""`kelp benchmark` on a small cluster: what it prints and lists, its flags, and how it ends when things fail."""
import json
import re
import signal
import subprocess

from lib.cluster import Cluster, http, kelp_binary, run, wait_until


def benchmark(cluster, folder, *flags, status=0, timeout=120):
    done = run([kelp_binary(), 'benchmark', f'-master={cluster.master}', '-list=list.txt', *flags], cwd=folder,
               check=False, timeout=timeout)
    assert done.returncode == status, (flags, done.stdout, done.stderr)
    return done


def phases(cluster, folder, *flags, status=0):
    done = benchmark(cluster, folder, '-json', *flags, status=status)
    return [json.loads(line) for line in done.stdout.splitlines()]


def listed(folder):
    return (folder / 'list.txt').read_text().split()


def test_the_text_has_the_layout_of_the_peer(kelp, tmp_path):
    said = benchmark(kelp, tmp_path, '-n=500', '-c=5').stdout
    for title in 'Writing', 'Randomly Reading':
        assert f'\n------------ {title} Benchmark ----------\n' in said
    for line in (r'Concurrency Level: +5', r'Time taken for tests: +[\d.]+ seconds', r'Completed requests: +500',
                 r'Failed requests: +0', r'Total transferred: +\d+ bytes', r'Requests per second: +[\d.]+ \[#/sec\]',
                 r'Transfer rate: +[\d.]+ \[Kbytes/sec\]', r'Connection Times \(ms\)',
                 r'Total: +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+', r' +50% +[\d.]+ ms', r' +99% +[\d.]+ ms',
                 r' +100% +[\d.]+ ms'):
        assert len(re.findall(f'^{line}$', said, re.M)) == 2, (line, said)


def test_what_was_written_is_listed_and_there(kelp, tmp_path):
    write, read = phases(kelp, tmp_path, '-n=300', '-c=40', '-size=100', '-collection=some')
    assert (write['phase'], write['completed'], write['failures'], write['concurrency']) == ('Writing', 300, 0, 40)
    assert 300 * 100 <= write['bytes'] <= 300 * 163
    assert read['completed'] == 300
    times = write['latencyMs']
    assert 0 < times['min'] <= times['p50'] <= times['p90'] <= times['p99'] <= times['max']
    fids = listed(tmp_path)
    assert len(fids) == len(set(fids)) == 300
    sizes = [len(kelp.get(fid).body) for fid in fids[::30]]
    assert all(100 <= size <= 163 for size in sizes) and len(set(sizes)) > 1
    volumes = {volume['id']: volume['collection'] for volume in kelp.volumes_listed()}
    assert {volumes[int(fid.split(',')[0])] for fid in fids} == {'some'}


def test_reads_come_from_a_list(kelp, tmp_path):
    phases(kelp, tmp_path, '-n=50', '-c=4', '-writeOnly')
    read, = phases(kelp, tmp_path, '-n=120', '-c=4', '-readOnly')
    assert (read['phase'], read['completed']) == ('Randomly Reading', 120)
    read, = phases(kelp, tmp_path, '-n=7', '-c=4', '-write=false', '-readSequentially')
    assert (read['phase'], read['completed']) == ('Reading', 50)  # each once


def test_deleted_blobs_are_gone_and_not_listed(kelp, tmp_path):
    write, read = phases(kelp, tmp_path, '-n=400', '-c=8', '-deletePercent=50', '-maxCpu=1')
    assert write['completed'] == 400 and 100 < write['deleted'] < 300
    assert len(listed(tmp_path)) == 400 - write['deleted']
    assert read['failures'] == 0
    write, = phases(kelp, tmp_path, '-n=40', '-c=8', '-deletePercent=100')
    assert write['deleted'] == 40 and listed(tmp_path) == []


def test_every_copy_is_written_and_read(kelp, tmp_path):
    write, read = phases(kelp, tmp_path, '-n=200', '-c=8', '-replication=001', '-collection=twice', '-fsync')
    assert write['failures'] == read['failures'] == 0
    for fid in listed(tmp_path)[::20]:
        for server in kelp.volumes:
            assert http('GET', f'{server.address}/{fid}').status == 200


def test_what_makes_no_sense_is_refused(kelp, tmp_path):
    for flags, text in ((['-n=0'], '-n must be 1 at least'), (['-c=0'], '-c must be from 1 to 10000'),
                        (['-size=0'], '-size must be'), (['-deletePercent=101'], 'from 0 to 100'),
                        (['-readOnly', '-writeOnly'], 'leave nothing to do'), (['-useTcp'], 'leave it out'),
                        (['-sise=3'], 'did you mean -size?')):
        assert text in benchmark(kelp, tmp_path, *flags, status=2).stderr
    assert 'nowhere.txt: No such file' in benchmark(kelp, tmp_path, '-readOnly', '-list=nowhere.txt', status=1).stderr
    (tmp_path / 'list.txt').write_text('\n \n')
    assert 'lists no file id' in benchmark(kelp, tmp_path, '-readOnly', status=1).stderr
    assert 'replication' in benchmark(kelp, tmp_path, '-n=10', '-replication=xyz', status=1).stderr


def test_failures_are_counted_and_give_a_status(kelp, tmp_path):
    phases(kelp, tmp_path, '-n=30', '-c=2', '-writeOnly')
    good = listed(tmp_path)
    (tmp_path / 'list.txt').write_text('\n'.join(good + [f'{good[0].split(",")[0]},ffffffff01234567', '999999,0123456789']))
    done = benchmark(kelp, tmp_path, '-json', '-readOnly', '-readSequentially', '-c=1', status=1)
    read = json.loads(done.stdout)
    assert (read['completed'], read['failures'], read['hasGivenUp']) == (30, 2, False)
    assert 'status 404' in read['firstError'] and 'status 404' in done.stderr


def test_ctrl_c_ends_it_early_with_a_report(kelp, tmp_path):
    with open(tmp_path / 'out', 'w') as out:
        process = subprocess.Popen([kelp_binary(), 'benchmark', f'-master={kelp.master}', '-list=list.txt',
                                    '-n=5000000', '-c=4'], cwd=tmp_path, stdout=out, stderr=out)
    try:
        # a line a second
        wait_until(lambda: re.search(r'^Completed \d+ of 5000000 requests, [\d.]+% [\d.]+/s [\d.]+MB/s$',
                                     (tmp_path / 'out').read_text(), re.M), 'it says how far it is')
        process.send_signal(signal.SIGINT)
        process.wait(30)
    finally:
        process.kill()
    said = (tmp_path / 'out').read_text()
    completed = int(re.search(r'^Completed requests: +(\d+)$', said, re.M)[1])
    assert completed == len(listed(tmp_path)) and 0 < completed < 5000000
    assert 'Reading' not in said


def test_it_gives_up_when_the_servers_are_gone(tmp_path):
    with Cluster(tmp_path) as cluster:
        cluster.kelp_master()
        server = cluster.kelp_volume()
        phases(cluster, tmp_path, '-n=50', '-c=2', '-writeOnly')
        server.kill()
        read, = phases(cluster, tmp_path, '-readOnly', '-n=1000000', '-c=2', status=1)
        assert read['hasGivenUp'] and read['completed'] == 0 and read['failures'] < 1000
        cluster.masters[0].kill()
        assert 'assign from' in benchmark(cluster, tmp_path, '-n=1000000', status=1).stderr
