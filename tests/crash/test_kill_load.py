"""kill -9 of a volume server at random points of a write, delete and vacuum load, again and again.

What was acknowledged before a kill holds after it: blobs read back byte-equal, deletes stay deleted, and the
volume takes writes. A request that was under way at the kill may have either outcome, but nothing between.

Clients own their keys and send one request at a time, so each knows what its keys must hold. KELP_SEED
repeats the choices of a run (not its timing); KELP_ROUNDS changes the number of kills.
"""
import collections
import os
import random
import threading
import time

import grpc

from lib.cluster import http, wait_until
from lib.raw_http import RawClient
from lib.rpc import call_master, call_volume, stream_volume

ROUNDS = int(os.environ.get('KELP_ROUNDS', '200'))
CLIENTS = 5
LIVE_PER_CLIENT = 600  # above it, deletes outweigh writes
OLD_SAMPLE = 60         # keys of former rounds that a client reads back after each kill
COPY_MBPS = 60          # in every fourth round: long enough a copy to be hit in
INDEX_KINDS = ('memory', 'memory', 'leveldb', 'leveldbLarge')
POOL = random.Random(1).randbytes(1 << 20)


class Blob:
    """What a key may hold: a start and length in POOL, or None when deleted."""

    def __init__(self, rng):
        kind = rng.random()
        self.size = rng.randint(1, 4000) if kind < 0.95 else rng.randint(4000, 120000)
        self.start = rng.randrange(len(POOL) - self.size)

    @property
    def data(self):
        return POOL[self.start:self.start + self.size]


class Client:
    """Its keys, what each holds, and at most one request whose outcome is not known."""

    def __init__(self, number, volume_id, rng):
        self.number, self.volume_id, self.rng = number, volume_id, rng
        self.cookie = rng.getrandbits(32)
        self.next_key = (number + 1) << 32
        self.holds = {}           # key -> Blob, or None: deleted
        self.live = []            # keys that hold a blob, in any order
        self.touched = set()      # in this round
        self.in_flight = None     # (key, the Blob or None that the request was for)
        self.counts = collections.Counter()
        self.failure = None

    def path(self, key):
        return f'/{self.volume_id},{key:x}{self.cookie:08x}'

    # ---- the load ----

    def run(self, port, stop):
        try:
            with RawClient(port) as connection:
                while not stop.is_set():
                    self.step(connection)
        except OSError:
            pass  # the kill
        except Exception as failure:  # to be raised where the test sees it
            self.failure = failure

    def step(self, connection):
        choice = self.rng.random()
        full = len(self.live) >= LIVE_PER_CLIENT
        if not self.live or choice < (0.25 if full else 0.6):
            self.next_key += 1
            self.store(connection, self.next_key)
        elif choice < 0.7:
            self.store(connection, self.rng.choice(self.live))
        elif choice < 0.92:
            self.delete(connection)
        else:
            key = self.rng.choice(self.live)
            self.check(key, *connection.call('GET', self.path(key)))

    def store(self, connection, key):
        blob = Blob(self.rng)
        query = '?fsync=true' if self.rng.random() < 0.1 else ''
        self.in_flight = (key, blob)
        status, body = connection.call('PUT', self.path(key) + query, blob.data)
        self.in_flight = None
        assert status in (201, 204), (self.path(key), status, body)
        self.settle(key, blob)
        self.counts['stored'] += 1

    def delete(self, connection):
        at = self.rng.randrange(len(self.live))
        key = self.live[at]
        self.in_flight = (key, None)
        status, body = connection.call('DELETE', self.path(key))
        self.in_flight = None
        assert status == 202, (self.path(key), status, body)
        self.settle(key, None)
        self.counts['deleted'] += 1

    def settle(self, key, blob):
        held = self.holds.get(key)
        self.holds[key] = blob
        self.touched.add(key)
        if held is None and blob is not None:
            self.live.append(key)
        elif held is not None and blob is None:
            at = self.live.index(key)
            self.live[at] = self.live[-1]
            self.live.pop()

    # ---- the reading back ----

    def check(self, key, status, body):
        blob = self.holds[key]
        if blob is None:
            assert status == 404, f'{self.path(key)} was deleted and is back: {status}, {len(body)} bytes'
        else:
            assert status == 200, f'{self.path(key)} is lost: {status} {body[:200]!r}'
            assert body == blob.data, f'{self.path(key)} differs, {len(body)} bytes for {blob.size}'

    def settle_in_flight(self, connection):
        """The key of the request that the kill met: as before it or as after it, and so it stays."""
        if not self.in_flight:
            return
        key, blob = self.in_flight
        self.in_flight = None
        status, body = connection.call('GET', self.path(key))
        is_done = status == 404 if blob is None else status == 200 and body == blob.data
        if is_done:
            self.settle(key, blob)
        elif key in self.holds:
            self.check(key, status, body)
        else:
            assert status == 404, f'{self.path(key)} holds what nobody wrote: {status}, {len(body)} bytes'
        self.counts['in flight, done' if is_done else 'in flight, not done'] += 1

    def check_keys(self, connection, keys):
        keys = list(keys)
        answers = connection.call_all(('GET', self.path(key)) for key in keys)
        for key, answer in zip(keys, answers):
            self.check(key, *answer)
        self.counts['read back'] += len(keys)

    def check_round(self, connection):
        self.settle_in_flight(connection)
        old = self.rng.sample(self.live, min(OLD_SAMPLE, len(self.live)))
        self.check_keys(connection, self.touched.union(old))
        self.touched.clear()


class Vacuum:
    """Vacuums the volume all the time, by the master and by the volume server's own calls."""

    def __init__(self, cluster, server, volume_id, rng):
        self.cluster, self.server, self.volume_id, self.rng = cluster, server, volume_id, rng
        self.counts = collections.Counter()
        self.is_copied = False

    def copy(self):
        """While no client is there, for whom a copy makes room: so that a commit comes before the kill."""
        stream_volume(self.server.address, 'VacuumVolumeCompact', volume_id=self.volume_id)
        self.is_copied = True

    def run(self, stop):
        while not stop.is_set():
            try:
                if self.is_copied:
                    self.is_copied = False
                    self.finish('VacuumVolumeCommit')
                elif self.rng.random() < 0.3:
                    call_master(self.cluster.master, 'VacuumVolume', volume_id=self.volume_id,
                                garbage_threshold=0.0001)
                else:
                    self.by_steps()
            except grpc.RpcError as error:
                self.counts['cut short'] += 1
                # what can be refused is refused in words; anything else must be the kill
                assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED,
                                        grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED), error

    def by_steps(self):
        stream_volume(self.server.address, 'VacuumVolumeCompact', volume_id=self.volume_id)
        self.finish('VacuumVolumeCommit' if self.rng.random() < 0.85 else 'VacuumVolumeCleanup')

    def finish(self, step):
        call_volume(self.server.address, step, volume_id=self.volume_id)
        self.counts[step] += 1


def has_loaded(server, volume_id):
    return server.check_alive() and any(volume['Id'] == volume_id
                                        for volume in http('GET', f'{server.address}/status').json['Volumes'] or ())


def restart(server, volume_id, rng):
    """Starts it, with any kind of index; now and then kills it again while it starts. Waits until it serves."""
    started = [a for a in server.command if not a.startswith(('-compactionMBps', '-index='))]
    server.command = started + [f'-index={rng.choice(INDEX_KINDS)}']
    if rng.random() < 0.25:
        server.command.append(f'-compactionMBps={COPY_MBPS}')
    if rng.random() < 0.15:
        server.start()
        time.sleep(rng.uniform(0, 0.06))  # a kill at a random point of the start, not a wait
        server.kill()
    server.start()
    wait_until(lambda: has_loaded(server, volume_id), 'the server serves the volume', pause=0.002)


def check_takes_writes(port, client):
    with RawClient(port) as connection:
        client.next_key += 1
        client.store(connection, client.next_key)
        client.check_keys(connection, [client.next_key])


def load_until_kill(server, clients, vacuum, delay):
    stop = threading.Event()
    threads = [threading.Thread(target=c.run, args=(server.port, stop)) for c in clients]
    threads.append(threading.Thread(target=vacuum.run, args=(stop,)))
    for thread in threads:
        thread.start()
    time.sleep(delay)  # the random point; nothing is waited for
    was_alive = server.is_running()
    server.process.kill()
    stop.set()
    server.kill()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), 'a client hangs after the kill'
    assert was_alive, f'the server ended by itself:\n{server.log()[-4000:]}'
    for client in clients:
        if client.failure:
            raise client.failure


def first_volume(cluster):
    fid = cluster.assign()['fid']
    return int(fid.split(',')[0])


def master_writes(cluster):
    """The clients here choose their keys themselves; until the master has heard of the highest, an assigned key
    may be one of theirs, which its other cookie protects."""
    target = cluster.assign()
    reply = http('PUT', f'{target["url"]}/{target["fid"]}', b'x', {'Content-Type': 'text/plain'})
    assert reply.status == 201 or 'mismatching cookie' in reply.json['error'], (reply.status, reply.body)
    return reply.status == 201


def test_acknowledged_writes_and_deletes_survive_kills_under_load(cluster):
    seed = int(os.environ.get('KELP_SEED') or random.SystemRandom().getrandbits(32))
    print(f'KELP_SEED={seed}')
    rng = random.Random(seed)
    cluster.kelp_master('-garbageThreshold=0.99', env={'WEED_MASTER_VOLUME_GROWTH_COPY_1': '1'})
    server = cluster.kelp_volume()
    volume_id = first_volume(cluster)
    clients = [Client(i, volume_id, random.Random(rng.getrandbits(64))) for i in range(CLIENTS)]
    vacuum = Vacuum(cluster, server, volume_id, random.Random(rng.getrandbits(64)))
    killed_in_vacuum = killed_in_commit = 0
    for number in range(ROUNDS):
        delay = rng.uniform(0.005, 0.3)
        if rng.random() < 0.5 and not any(a.startswith('-compactionMBps') for a in server.command):
            vacuum.copy()
            delay = rng.uniform(0.001, 0.03)
        load_until_kill(server, clients, vacuum, delay)
        killed_in_vacuum += any(server.data.glob(f'{volume_id}.cp?'))
        killed_in_commit += any(server.data.glob(f'{volume_id}.cpc'))
        restart(server, volume_id, rng)
        assert not list(server.data.glob('*.cp?')), f'round {number}: the start left a vacuum half done'
        with RawClient(server.port) as connection:
            for client in clients:
                client.check_round(connection)
        check_takes_writes(server.port, clients[number % CLIENTS])
    with RawClient(server.port) as connection:
        for client in clients:
            client.check_keys(connection, client.holds)
    counts = sum((c.counts for c in clients), vacuum.counts)
    print(f'{ROUNDS} kills, {killed_in_vacuum} in a vacuum, {killed_in_commit} in its commit; {dict(counts)}')
    print(f'tally: {ROUNDS} kills under load')
    # a load that did not do what it is for proves nothing
    assert counts['stored'] > 10 * ROUNDS and counts['deleted'] > ROUNDS
    assert killed_in_vacuum > ROUNDS // 20 and counts['VacuumVolumeCommit'] > ROUNDS // 20
    wait_until(lambda: master_writes(cluster), 'the master takes it as writable')
    assert server.stop() == 0
