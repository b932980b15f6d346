"""What clients feel of vacuums: one that reads and one that stores, one request at a time each, through many vacuums
of one volume, of which the first finds half of it garbage.

A request counts for all phases that it overlaps. `idle` is before and after all vacuums, `copy` while one copies,
`commits` from a little before each commit begins to a little after it ended. The vacuums with a budget are apart, at
the end: -compactionMBps cannot be changed while a server runs."""
import array
import bisect
import contextlib
import os
import shutil
import subprocess
import time

from meters import BLOB_SIZE, KINDS, MADE_COOKIE, copy_files, make_volume, servers
from vacuum import check_compacted, vacuum

ROUNDS = 1
BETWEEN = 0.3  # seconds between two vacuums
AROUND = 0.05  # seconds on either side that count as commit, too
FIRST_FID = f'1,01{MADE_COOKIE}'


@contextlib.contextmanager
def clients(server, blobs, folder):
    """A reader of what is not deleted and a writer of new blobs; folder/read and folder/write get their times."""
    command = [os.environ['KELP_BLOB_CLIENTS'], 'watch', server.port, FIRST_FID, 0, 2, blobs // 2, folder]
    process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE)
    try:
        yield
        process.stdin.close()
        if process.wait(30) != 0:
            raise RuntimeError(f'a client of {server.name} failed')
    finally:
        process.kill()
        process.wait()


class Waits:
    """The requests of one client, in order."""

    def __init__(self, path):
        raw = array.array('Q', path.read_bytes())
        self.starts = [at / 1e9 for at in raw[::2]]
        self.ms = [duration / 1e6 for duration in raw[1::2]]

    def within(self, spans):
        """Durations of all requests that overlap one of the spans, sorted. One request at a time: only the first
        one can have begun before a span."""
        found = set()
        for first, last in spans:
            low = max(0, bisect.bisect_left(self.starts, first) - 1)
            high = bisect.bisect_right(self.starts, last)
            if low < high and self.starts[low] + self.ms[low] / 1e3 < first:
                low += 1
            found.update(range(low, high))
        return sorted(self.ms[i] for i in found)


def p999(ordered):
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.999))]


def run_vacuums(server, options, count, folder):
    """(times of the vacuums, {who: its Waits}, (begin, end) of it all)."""
    vacuums = []
    begin = time.monotonic()
    with clients(server, options.blobs, folder):
        time.sleep(options.quiet)
        for _ in range(count):
            vacuums.append(vacuum(server))
            time.sleep(BETWEEN)
        time.sleep(options.quiet)
        end = time.monotonic()
    check_compacted(server, count)
    return vacuums, {who: Waits(folder / who) for who in ('read', 'write')}, (begin, end)


def add_figures(results, kind, measured, suffix):
    vacuums, waits, (begin, end) = measured
    phases = {
        'idle': [(begin, vacuums[0][0]), (vacuums[-1][2] + BETWEEN, end)],
        'in copy': [(start, commit - AROUND) for start, commit, _ in vacuums if commit - AROUND > start],
        'around commits': [(commit - AROUND, last + AROUND) for _, commit, last in vacuums],
    }
    for who, client in waits.items():
        found = {phase: client.within(spans) for phase, spans in phases.items()}
        for phase, ordered in found.items():
            if not ordered:
                continue  # so little was vacuumed that it was over before a request
            results.add(f'{who} p99.9 {phase}{suffix}', 'ms', kind, p999(ordered), digits=2)
            results.add(f'longest {who} {phase}{suffix}', 'ms', kind, ordered[-1], digits=2)
            if phase == 'in copy':
                results.add(f'{who} p99.9 {phase}{suffix}', 'of idle', kind, p999(ordered) / p999(found['idle']),
                            digits=2)
    took = sum(last - start for start, _, last in vacuums)
    served = sum(len(client.within([(start, last) for start, _, last in vacuums])) for client in waits.values())
    results.add(f'served while vacuuming{suffix}', 'requests/s', kind, served / took, more_is_better=True, digits=0)
    results.add(f'one vacuum{suffix}', 's', kind, took / len(vacuums), digits=2)


def one_round(results, folder, kind, source, options):
    runs = (('', [], options.vacuums), (' with budget', [f'-compactionMBps={options.budget}'],
                                        max(1, options.vacuums // 4)))
    for suffix, flags, count in runs:
        folder.mkdir()
        data = folder / 'data'
        data.mkdir()
        copy_files(source, data)
        with servers(folder, kind, *flags, data=data) as (_, server):
            add_figures(results, kind, run_vacuums(server, options, count, folder), suffix)
        shutil.rmtree(folder)


def measure(results, folder, options, _stack):
    source = folder / 'made'
    make_volume(source, options.blobs, 'sequential', BLOB_SIZE, BLOB_SIZE, 'garbage')
    for number in range(options.rounds or ROUNDS):
        for kind in KINDS:
            if kind in options.kinds:
                one_round(results, folder / f'{kind}-{number}', kind, source, options)
