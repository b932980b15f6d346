"""Real processes for the black-box tests: kelp and weed servers on free loopback ports.

Every server is stopped by its own process id, also when a test fails; its log is shown then.
Binaries: KELP_BINARY and KELP_WEED from the environment (scripts/test and meson set them).
"""
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

DEADLINE = 30  # seconds that anything may take to happen


def kelp_binary():
    return os.environ['KELP_BINARY']


def weed_binary():
    path = os.environ.get('KELP_WEED')
    if not path:
        top = pathlib.Path(__file__).resolve().parents[2]
        path = subprocess.check_output([top / 'scripts/install-weed'], text=True).strip()
        os.environ['KELP_WEED'] = path
    return path


def _is_free(port):
    for family, host in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET, '0.0.0.0')):
        with socket.socket(family) as s:
            try:
                s.bind((host, port))
            except OSError:
                return False
    return True


def free_port():
    """An HTTP port whose gRPC twin (+10000) is free, too. Drawn at random, below the range from which
    the kernel takes ports for outgoing connections."""
    for _ in range(1000):
        port = random.randrange(11000, 22000)
        if _is_free(port) and _is_free(port + 10000):
            return port
    raise RuntimeError('no free pair of ports')


def wait_until(condition, what, deadline=DEADLINE, pause=0.05):
    """The first true answer of condition(); exceptions of connections count as not yet."""
    end = time.monotonic() + deadline
    last = None
    while time.monotonic() < end:
        try:
            answer = condition()
            if answer:
                return answer
        except (OSError, urllib.error.URLError, ValueError, KeyError) as error:
            last = error
        time.sleep(pause)
    raise AssertionError(f'not within {deadline} s: {what} ({last})')


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


def http(method, url, body=None, headers=None, timeout=DEADLINE):
    """One request; any status is an answer, not an exception."""
    if not url.startswith('http'):
        url = 'http://' + url
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    try:
        with opener.open(request, timeout=timeout) as answer:
            return Reply(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Reply(error.code, error.headers, error.read())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


class Server:
    """One running process."""

    def __init__(self, name, command, folder, env=None):
        self.name, self.command, self.folder = name, [str(c) for c in command], pathlib.Path(folder)
        self.env = env or {}
        self.process = None
        self.log_path = self.folder / f'{name}.log'

    def start(self):
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            cwd=self.folder, env={**os.environ, **self.env})
        return self

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        return self.log_path.read_text(errors='replace') if self.log_path.exists() else ''

    def check_alive(self):
        assert self.is_running(), f'{self.name} has ended with {self.process.poll()}:\n{self.log()[-4000:]}'
        return True

    def stop(self, timeout=DEADLINE):
        """SIGTERM, then waits; the exit status."""
        if self.process is None:
            return None
        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f'{self.name} did not stop:\n{self.log()[-4000:]}') from None

    def kill(self):
        """SIGKILL: as a crash."""
        if self.is_running():
            self.process.kill()
        if self.process is not None:
            self.process.wait()


class Cluster:
    """Servers of one test, in one folder; a context manager that ends them all."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.servers = []
        self.masters = []
        self.volumes = []

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for server in reversed(self.servers):
            with contextlib.suppress(Exception):
                server.kill()
        if kind is not None:
            for server in self.servers:
                print(f'---- {server.name}: {" ".join(server.command)}\n{server.log()[-3000:]}')

    def _add(self, server, address, kind):
        server.address = address
        self.servers.append(server)
        getattr(self, kind).append(server)
        server.start()
        return server

    def _folder(self, name):
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _master(self, name, binary, flags, env, port):
        port = port or free_port()
        command = [binary, 'master', f'-port={port}', '-ip=127.0.0.1', '-ip.bind=127.0.0.1',
                   f'-mdir={self._folder(name)}', *flags]
        server = self._add(Server(name, command, self.folder, env), f'127.0.0.1:{port}', 'masters')
        server.port = port
        wait_until(lambda: server.check_alive() and
                   http('GET', f'{server.address}/cluster/status').json.get('IsLeader'), f'{name} leads')
        return server

    def kelp_master(self, *flags, name='kelp-master', env=None, port=None):
        return self._master(name, kelp_binary(), ['-volumeSizeLimitMB=1024', *flags], env, port)

    def weed_master(self, *flags, name='weed-master', env=None, port=None):
        return self._master(name, weed_binary(), ['-volumeSizeLimitMB=1024', '-telemetry=false', *flags], env, port)

    def _volume(self, name, binary, flags, data, wait, port):
        port = port or free_port()
        data = data or self._folder(name)
        command = [binary, 'volume', f'-port={port}', '-ip=127.0.0.1', '-ip.bind=127.0.0.1', f'-dir={data}',
                   f'-master={self.masters[0].address}', '-preStopSeconds=0', *flags]
        server = self._add(Server(name, command, self.folder), f'127.0.0.1:{port}', 'volumes')
        server.port, server.data = port, pathlib.Path(data)
        if wait:
            self.wait_registered(server)
        return server

    def kelp_volume(self, *flags, name=None, data=None, wait=True, port=None):
        name = name or f'kelp-volume{len(self.volumes)}'
        return self._volume(name, kelp_binary(), ['-max=100', '-pulseMilliseconds=500', *flags], data, wait, port)

    def weed_volume(self, *flags, name=None, data=None, wait=True, port=None):
        name = name or f'weed-volume{len(self.volumes)}'
        return self._volume(name, weed_binary(), ['-max=100', *flags], data, wait, port)

    def any_master(self, kind, *flags, **options):
        """A master of either kind, 'kelp' or 'weed'."""
        return (self.kelp_master if kind == 'kelp' else self.weed_master)(*flags, **options)

    def any_volume(self, kind, *flags, **options):
        return (self.kelp_volume if kind == 'kelp' else self.weed_volume)(*flags, **options)

    @property
    def master(self):
        return self.masters[0].address

    def nodes(self):
        topology = http('GET', f'{self.master}/dir/status').json['Topology']
        return [node['Url'] for center in topology.get('DataCenters') or []
                for rack in center.get('Racks') or [] for node in rack.get('DataNodes') or []]

    def wait_registered(self, server):
        wait_until(lambda: server.check_alive() and server.address in self.nodes(),
                   f'{server.name} is registered')

    def wait_gone(self, server):
        wait_until(lambda: server.address not in self.nodes(), f'{server.name} is gone')

    # ---- what clients do ----

    def assign(self, **query):
        def attempt():
            reply = http('GET', f'{self.master}/dir/assign?{urllib.parse.urlencode(query)}')
            return reply.json if reply.status == 200 and 'fid' in reply.json else None
        return wait_until(attempt, f'assign {query}')

    def put(self, data, **query):
        """Assigns, stores; (fid, url of the server)."""
        target = self.assign(**query)
        reply = http('PUT', f'{target["url"]}/{target["fid"]}', data,
                     {'Content-Type': 'application/octet-stream'})
        assert reply.status == 201, (reply.status, reply.body)
        return target['fid'], target['url']

    def put_many(self, bodies, **query):
        """All into one volume, with a single assign: a weed master counts on a megabyte to come for each
        key that it hands out, and a vacuum waits up to half a minute for them. {fid: data}"""
        target = self.assign(**query)
        blobs = {}
        for data in bodies:
            key = random.randrange(1 << 32, 1 << 40)
            fid = f'{target["fid"].split(",")[0]},{key:x}{random.getrandbits(32):08x}'
            reply = http('PUT', f'{target["url"]}/{fid}', data, {'Content-Type': 'application/octet-stream'})
            assert reply.status == 201, (fid, reply.status, reply.body)
            blobs[fid] = data
        return blobs

    def lookup(self, fid):
        reply = http('GET', f'{self.master}/dir/lookup?volumeId={fid.split(",")[0]}')
        return [location['url'] for location in reply.json.get('locations', [])]

    def get(self, fid):
        return http('GET', f'{self.lookup(fid)[0]}/{fid}')

    def delete(self, fid):
        return http('DELETE', f'{self.lookup(fid)[0]}/{fid}')

    def kelp_shell(self, line, *flags, check=True):
        return run([kelp_binary(), 'shell', f'-master={self.master}', *flags, '-c', line], check=check,
                   cwd=self.folder)

    def weed_shell(self, *lines, check=True):
        """Commands to weed's shell, under its lock; what it printed. It ends with 0 also when a command failed,
        and says so in its output alone."""
        script = '\n'.join(['lock', *lines, 'unlock', 'exit', ''])
        done = run([weed_binary(), 'shell', f'-master={self.master}'], input=script, check=check,
                   cwd=self.folder)
        assert not check or 'error:' not in done.stdout + done.stderr, (lines, done.stdout, done.stderr)
        return done

    def volumes_listed(self):
        return json.loads(self.kelp_shell('volume.list', '-json').stdout)['volumes']


def run(command, check=True, timeout=120, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=timeout, **options)
    if check:
        assert done.returncode == 0, f'{command}: status {done.returncode}\n{done.stdout}\n{done.stderr}'
    return done
