"""nginx as one tunes it to serve files: what a volume server's GET is measured by."""
import contextlib
import os
import pathlib
import subprocess

from meters import HERE

from lib.cluster import Server, free_port, http, wait_until

FILES = 12_000  # small ones: as many as its cache of open files shall hold, and the limit of open files allows

CONFIGURATION = '''
worker_processes 2;
daemon off;
user {user};
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 6000; }}
http {{
    access_log off;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    open_file_cache max=14000 inactive=1h;
    open_file_cache_valid 1h;
    open_file_cache_min_uses 1;
    client_body_temp_path {folder}/temp;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/temp;
    uwsgi_temp_path {folder}/temp;
    scgi_temp_path {folder}/temp;
    types {{ }}
    default_type application/octet-stream;
    server {{
        listen 127.0.0.1:{port} reuseport backlog=4096;
        root {folder}/files;
        location / {{ sendfile off; }}
        location /large/ {{ sendfile on; tcp_nopush on; }}
    }}
}}
'''


class Nginx(Server):
    """`pids` are those of its workers; files go below `root`."""

    def __init__(self, folder):
        folder = pathlib.Path(folder).resolve()
        self.root = folder / 'files'
        self.root.mkdir(parents=True)
        os.chmod(folder, 0o755)
        self.port = free_port()
        self.address = f'127.0.0.1:{self.port}'
        configuration = folder / 'nginx.conf'
        user = subprocess.check_output(['id', '-un'], text=True).strip()
        configuration.write_text(CONFIGURATION.format(folder=folder, port=self.port, user=user))
        super().__init__('nginx', [binary(), '-e', folder / 'error.log', '-c', configuration, '-p', folder], folder)

    @property
    def pids(self):
        return [int(pid) for pid in pathlib.Path(f'/proc/{self.pid}/task/{self.pid}/children').read_text().split()]


def binary():
    if not os.environ.get('KELP_NGINX'):
        install = HERE.parents[1] / 'scripts/install-nginx'
        os.environ['KELP_NGINX'] = subprocess.check_output([install], text=True).strip()
    return os.environ['KELP_NGINX']


@contextlib.contextmanager
def running(folder):
    server = Nginx(folder)
    server.start()
    try:
        wait_until(lambda: server.check_alive() and http('GET', server.address).status in (403, 404), 'nginx serves')
        yield server
    finally:
        server.stop()
