"""Clients that others wrote, unchanged, on a cluster of kelp alone: curl, python's requests, and two libraries
made for SeaweedFS. A library whose index of packages cannot be reached is skipped, and the reason is told."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess

import pytest
import requests
from lib.cluster import run

INSTALL = pathlib.Path(__file__).resolve().parents[2] / 'scripts/install-clients'
OUT_OF_REACH = 3  # how install-clients ends when an index cannot be reached


def installed(library):
    """The lines that say what runs it."""
    done = subprocess.run([INSTALL, library], capture_output=True, text=True, timeout=200)
    if done.returncode == OUT_OF_REACH:
        pytest.skip(f'{library} is not installed: {done.stderr.strip()}')
    assert done.returncode == 0, done.stderr
    return done.stdout.split('\n')[:-1]


# ---- pyseaweed ----

PYSEAWEED = '''
import io, json, sys
from pyseaweed import SeaweedFS
host, port, path = sys.argv[1:]
facts = {}
for session in (False, True):
    for public in (False, True):
        weed = SeaweedFS(host, int(port), use_session=session, use_public_url=public)
        data = open(path, 'rb').read()
        fid = weed.upload_file(path)
        assert weed.get_file(fid) == data, fid
        assert weed.get_file_size(fid) == len(data) and weed.file_exists(fid)
        assert weed.get_file_url(fid).endswith(fid)
        stream = weed.upload_file(stream=io.BytesIO(b'streamed'), name='a name.txt', collection='py', replication='001')
        assert weed.get_file(stream) == b'streamed'
        assert weed.delete_file(fid) and not weed.file_exists(fid) and weed.get_file(fid) is None
        assert weed.get_file(stream) == b'streamed'
        facts.setdefault('kept', []).append(stream)
        facts['version'] = weed.version
assert weed.vacuum(0.1)
print(json.dumps(facts))
'''


def test_pyseaweed_stores_reads_and_deletes(kelp, tmp_path):
    python, = installed('pyseaweed')
    (tmp_path / 'some.bin').write_bytes(os.urandom(100_000))
    host, port = kelp.master.split(':')
    facts = json.loads(run([python, '-c', PYSEAWEED, host, port, tmp_path / 'some.bin']).stdout)
    assert 'kelp' in facts['version']
    assert len(facts['kept']) == 4
    for fid in facts['kept']:
        assert len(kelp.lookup(fid)) == 2
        for server in kelp.volumes:  # the copy too
            assert requests.get(f'http://{server.address}/{fid}').content == b'streamed'


# ---- node-seaweedfs ----

NODE_SEAWEEDFS = '''
const assert = require('assert'), fs = require('fs'), Weed = require('node-seaweedfs');
const [server, port, path, other] = process.argv.slice(2);
async function main() {
  const kept = [];
  for (const usePublicUrl of [false, true]) {
    const weed = new Weed({server, port, usePublicUrl});
    const data = fs.readFileSync(path);
    const one = await weed.write(path);
    assert((await weed.read(one.fid)).equals(data));
    const several = await weed.write([path, other, Buffer.from('words')], {collection: 'node', replication: '001'});
    assert.strictEqual(several.count, 3);
    assert((await weed.read(several.fid)).equals(data));
    assert((await weed.read(several.fid + '_1')).equals(fs.readFileSync(other)));
    assert.strictEqual((await weed.read(several.fid + '_2')).toString(), 'words');
    const found = await weed.find(several.fid);
    assert.strictEqual(found.locations.length, 2);
    assert.strictEqual((await weed.find(several.fid, {collection: 'node'})).locations.length, 2);
    const part = await weed.read(one.fid, null, {headers: {Range: 'bytes=10-19'}});
    assert(part.equals(data.subarray(10, 20)));
    await weed.remove(one.fid);
    await assert.rejects(weed.read(one.fid), /not found/);
    await assert.rejects(weed.find('4000000000,0123456789'));
    assert((await weed.clusterStatus()).IsLeader);
    assert((await weed.systemStatus()).Topology);
    assert((await weed.volumeStatus(found.locations[0].url)).Volumes);
    const copy = fs.createWriteStream(path + '.copy');
    await weed.read(several.fid + '_1', copy);
    await new Promise(resolve => copy.on('finish', resolve));
    assert(fs.readFileSync(path + '.copy').equals(fs.readFileSync(other)));
    kept.push(several.fid + '_1');
  }
  fs.writeSync(1, JSON.stringify(kept));
  process.exit(0);  // the library leaves answers unread, and node would wait for their connections
}
main().catch(error => { console.error(error); process.exit(1); });
'''


def test_node_seaweedfs_stores_reads_and_deletes(kelp, tmp_path):
    node, modules = installed('node-seaweedfs')
    (tmp_path / 'some.bin').write_bytes(os.urandom(300_000))
    (tmp_path / 'other.txt').write_bytes(b'other words, ' * 1000)
    (tmp_path / 'client.js').write_text(NODE_SEAWEEDFS)
    host, port = kelp.master.split(':')
    done = run([node, tmp_path / 'client.js', host, port, tmp_path / 'some.bin', tmp_path / 'other.txt'],
               env={**os.environ, 'NODE_PATH': modules})
    for fid in json.loads(done.stdout):
        assert kelp.get(fid).body == b'other words, ' * 1000


# ---- requests ----

def test_requests_with_a_session_streams_ranges_and_conditions(kelp):
    data = os.urandom(3_000_000)
    with requests.Session() as session:
        target = session.get(f'http://{kelp.master}/dir/assign', params={'collection': 'a b', 'ttl': '3h'}).json()
        url = f'http://{target["publicUrl"]}/{target["fid"]}'

        def pieces():
            for start in range(0, len(data), 70_000):
                yield data[start:start + 70_000]
        reply = session.put(url, data=pieces(), headers={'Content-Type': 'application/x-some'},
                            params={'ttl': '3h'})  # chunked
        assert reply.status_code == 201 and reply.json()['size'] == len(data), reply.text
        reply = session.get(url, stream=True)
        assert reply.headers['Content-Type'] == 'application/x-some'
        assert hashlib.sha256(b''.join(reply.iter_content(10_000))).digest() == hashlib.sha256(data).digest()
        assert session.get(url, headers={'Range': 'bytes=-100'}).content == data[-100:]
        assert session.get(url, headers={'If-None-Match': reply.headers['ETag']}).status_code == 304
        assert int(session.head(url).headers['Content-Length']) == len(data)
        # a form, with a name beyond ASCII and with pairs to keep
        name = 'größe 漢字.txt'
        reply = session.post(url, files={'file': (name, 'words ' * 500, 'text/plain')},
                             headers={'Seaweed-Color': 'blue'}, params={'ttl': '3h'})
        assert reply.status_code == 201, reply.text
        assert reply.json()['name'] == name
        reply = session.get(url)
        assert reply.text == 'words ' * 500 and reply.headers['Color'] == 'blue'
        assert session.delete(url).status_code == 202
        assert session.get(url).status_code == 404
        # the master's own upload, and its redirect
        reply = session.post(f'http://{kelp.master}/submit', files={'file': ('a.txt', b'sent')})
        assert reply.status_code == 201, reply.text
        assert session.get(f'http://{kelp.master}/{reply.json()["fid"]}').content == b'sent'


# ---- curl ----

def curl(*words, folder):
    return run(['curl', '--silent', '--show-error', '--fail', '--noproxy', '*', *words], cwd=folder, timeout=60)


def test_curl_does_what_the_documents_of_the_peer_show(kelp, tmp_path):
    path = tmp_path / 'my file.jpg'
    path.write_bytes(os.urandom(2_500_000))
    target = json.loads(curl(f'http://{kelp.master}/dir/assign', folder=tmp_path).stdout)
    url = f'http://{target["url"]}/{target["fid"]}'
    answer = json.loads(curl('-F', 'file=@my file.jpg', url, folder=tmp_path).stdout)  # waits for a 100 Continue
    assert answer['name'] == 'my file.jpg' and answer['size'] == path.stat().st_size and answer['eTag']
    curl('-o', 'whole', url, folder=tmp_path)
    assert (tmp_path / 'whole').read_bytes() == path.read_bytes()
    # what broke off goes on
    (tmp_path / 'rest').write_bytes(path.read_bytes()[:1_000_000])
    curl('-C', '-', '-o', 'rest', url, folder=tmp_path)
    assert (tmp_path / 'rest').read_bytes() == path.read_bytes()
    # under the name it was stored with; in the four ways to write a file id
    (tmp_path / 'named').mkdir()
    curl('-OJ', f'{url}?dl=true', folder=tmp_path / 'named')
    assert [p.name for p in (tmp_path / 'named').iterdir()] == ['my file.jpg']
    volume, rest = target['fid'].split(',')
    for form in (f'{volume}/{rest}/my%20file.jpg', f'{volume}/{rest}.jpg', f'{volume}/{rest}', f'{target["fid"]}.jpg'):
        curl('-o', 'again', f'http://{target["url"]}/{form}', folder=tmp_path)
        assert (tmp_path / 'again').read_bytes() == path.read_bytes(), form
    header = curl('-I', url, folder=tmp_path).stdout
    assert 'HTTP/1.1 200 OK' in header and 'Content-Type: image/jpeg' in header
    # from a pipe: a chunked body, of words, that travels compressed
    text = b'many words ' * 10_000
    subprocess.run(['curl', '--silent', '--fail', '--noproxy', '*', '-T', '-', '-H', 'Content-Type: text/plain', url],
                   input=text, check=True, timeout=60, stdout=subprocess.DEVNULL)
    curl('--compressed', '-o', 'words', url, folder=tmp_path)
    assert (tmp_path / 'words').read_bytes() == text
    curl('-X', 'DELETE', url, folder=tmp_path)
    assert 'error: 404' in run([shutil.which('curl'), '-sSf', '--noproxy', '*', url], check=False).stderr
