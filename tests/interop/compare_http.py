"""The data port beside that of the released peer: the same requests to both, answers compared header by header.

KELP_WEED names the peer's binary (scripts/install-weed provides it), KELP_DATA_PORT the program
tests/bench/data_port_bench of this build. Where an answer may differ, the case says why (`differs`), and what is
compared is then the status alone.
"""
import gzip
import http.client
import json
import os
import re
import socket
import subprocess
import time
import urllib.request

import pytest
from lib.cluster import weed_binary

WEED = weed_binary()
DATA_PORT = os.environ["KELP_DATA_PORT"]
COOKIE = "637037d6"

TEXT = b"The quick brown fox jumps over the lazy dog.\n" * 100
BINARY = bytes((i * 7919 >> 3) & 255 for i in range(5000))
BIG = bytes((i * i * 31 + (i >> 7) * 17) & 255 for i in range(300_000)) * 8
PAST = "ts=1600000000"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Case:
    """`is_packed`: the servers compress the data, each in its own way, so the CRC of it is not compared."""

    def __init__(self, name, *requests, differs=None, is_packed=False):
        self.name, self.requests, self.differs, self.is_packed = name, requests, differs, is_packed


def r(method, target, headers=None, body=None):
    return method, target, headers or {}, body


def form(*parts, boundary="XX"):
    body = b""
    for headers, data in parts:
        body += b"--" + boundary.encode() + b"\r\n" + headers.encode() + b"\r\n\r\n" + data + b"\r\n"
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body + f"--{boundary}--\r\n".encode()


def post_form(target, *parts):
    headers, body = form(*parts)
    return r("POST", target, headers, body)


A_TXT = 'Content-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain'
P = f"?{PAST}"

# {f} is a file id of the case's own, {k} its part after the comma.
CASES = [
    Case("put and read", r("PUT", "/{f}" + P, {}, b"hello"), r("PUT", "/{f}" + P, {}, b"hello"),
         r("GET", "/{f}"), r("HEAD", "/{f}"), r("GET", "/3/{k}/x.pdf?dl=1"), r("GET", "/3/{k}.png"),
         r("GET", "/{f}.jpg"), r("HEAD", "/3/{k}/ä b.png".replace("ä", "%C3%A4").replace(" ", "%20"))),
    Case("put with extension", r("PUT", "/{f}.css" + P, {}, b"hello"), r("GET", "/{f}.css"), r("GET", "/{f}")),
    Case("put with type", r("PUT", "/{f}" + P, {"Content-Type": "image/png"}, BINARY), r("GET", "/{f}"),
         r("HEAD", "/{f}")),
    Case("put octet-stream with known name", r("PUT", "/{f}.png" + P, {"Content-Type": "application/octet-stream"}, b"x"),
         r("GET", "/{f}")),
    Case("put with disposition", r("PUT", "/{f}" + P, {"Content-Disposition": 'attachment; filename="dir/b c.gif"'}, b"x"),
         r("GET", "/{f}")),
    Case("put empty", r("PUT", "/{f}" + P, {}, b""), r("GET", "/{f}"), r("HEAD", "/{f}"),
         r("GET", "/{f}", {"Range": "bytes=0-"}), r("GET", "/{f}", {"Range": "bytes=-1"}), r("DELETE", "/{f}"),
         r("GET", "/{f}")),
    Case("text is compressed", r("PUT", "/{f}" + P, {"Content-Type": "text/plain"}, TEXT),
         r("GET", "/{f}"), r("HEAD", "/{f}"), r("HEAD", "/{f}", {"Accept-Encoding": "gzip"}),
         r("GET", "/{f}", {"Range": "bytes=10-19"}), r("GET", "/{f}", {"Range": "bytes=99999-", "Accept-Encoding": "x"}),
         is_packed=True),
    Case("sniffed text is compressed", r("PUT", "/{f}" + P, {}, TEXT), r("GET", "/{f}"), is_packed=True),
    Case("json is not compressed", r("PUT", "/{f}.json" + P, {}, json.dumps(list(range(2000))).encode()), r("GET", "/{f}")),
    Case("gzip given", r("PUT", "/{f}" + P, {"Content-Encoding": "gzip"}, gzip.compress(TEXT, mtime=0)),
         r("GET", "/{f}"), r("GET", "/{f}", {"Accept-Encoding": "gzip, br"}), r("HEAD", "/{f}")),
    Case("gzip that is none", r("PUT", "/{f}" + P, {"Content-Encoding": "gzip"}, b"no gzip"), r("GET", "/{f}"),
         r("GET", "/{f}", {"Accept-Encoding": "gzip"})),
    Case("gzip that is torn", r("PUT", "/{f}" + P, {"Content-Encoding": "gzip"}, gzip.compress(TEXT, mtime=0)[:40]),
         r("GET", "/{f}")),
    Case("form", post_form("/{f}" + P, (A_TXT, b"hello")), r("GET", "/{f}"), r("DELETE", "/{f}")),
    Case("form, second part has the name",
         post_form("/{f}" + P, ('Content-Disposition: form-data; name="k"', b"v"),
                   ('Content-Disposition: form-data; name="f"; filename="C:\\\\dir\\\\b.html"', b"<html>")), r("GET", "/{f}")),
    Case("form without names", post_form("/{f}" + P, ('Content-Disposition: form-data; name="k"', b"v")), r("GET", "/{f}")),
    Case("form with gzip part", post_form("/{f}" + P, (A_TXT + "\r\nContent-Encoding: gzip", gzip.compress(b"packed", mtime=0))),
         r("GET", "/{f}")),
    Case("form with md5", post_form("/{f}" + P, (A_TXT + "\r\nContent-MD5: XUFAKrxLKna5cZ2REBfFkg==", b"hello")),
         post_form("/{f}" + P, (A_TXT + "\r\nContent-MD5: AAAA", b"hello"))),
    Case("md5", r("PUT", "/{f}" + P, {"Content-MD5": "XUFAKrxLKna5cZ2REBfFkg=="}, b"hello"),
         r("PUT", "/{f}" + P, {"Content-MD5": "wrong"}, b"hello!")),
    Case("form errors", r("POST", "/{f}", {}, b"hello"), r("POST", "/{f}", {"Content-Type": "multipart/form-data"}, b"x"),
         r("POST", "/{f}", {"Content-Type": "multipart/form-data; boundary=B"}, b""),
         r("POST", "/{f}", {"Content-Type": "multipart/form-data; boundary=B"}, b"--B\r\nContent-Disposition: form-data\r\n\r\nx"),
         r("POST", "/{f}", {"Content-Type": "multipart/form-data; boundary=B"}, b"--B--\r\n"),
         r("POST", "/{f}", {"Content-Type": "a/b; =c"}, b"x"), r("POST", "/{f}", {"Content-Type": "text/plain"}, b"raw post")),
    Case("put of a form stores the form", r("PUT", "/{f}" + P, *form((A_TXT, b"hello"))), r("GET", "/{f}")),
    Case("pairs", r("PUT", "/{f}" + P, {"seaweed-foo-bar": "a b", "Seaweed-Xyz": "<&>", "SEAWEED-ETAG": "mine"}, b"hello"),
         r("GET", "/{f}"), r("HEAD", "/{f}"), r("DELETE", "/{f}")),
    Case("pair type and disposition", r("PUT", "/{f}" + P, {"Seaweed-Content-Type": "a/b", "Seaweed-Content-Disposition": "inline"}, b"hi"),
         r("GET", "/{f}")),
    Case("ttl", r("PUT", "/{f}?ttl=3d&" + PAST, {}, b"hello"), r("GET", "/{f}"), r("DELETE", "/{f}")),
    Case("bad ttl and ts", r("PUT", "/{f}?ttl=xx&ts=yy", {}, b"hello"), r("GET", "/{f}")),
    Case("fsync", r("PUT", "/{f}?fsync=true&" + PAST, {}, b"hello"), r("GET", "/{f}")),
    Case("long name", r("PUT", "/{f}" + P, {"Content-Disposition": 'attachment; filename="' + "n" * 300 + '"'}, b"hello"), r("GET", "/{f}")),
    Case("a type too long to be stored", r("PUT", "/{f}" + P, {"Content-Type": "x" * 300}, TEXT),
         r("GET", "/{f}", {"Accept-Encoding": "gzip"})),
    Case("cm flag", r("PUT", "/{f}?cm=true&" + PAST, {"Content-Type": "text/plain"}, b'{"size":0,"chunks":[]}'),
         r("GET", "/{f}?cm=false"), r("HEAD", "/{f}?cm=false")),
    Case("chunk manifest", r("PUT", "/3,{K}0a00000001", {}, b"hello "), r("PUT", "/3,{K}0b00000001", {}, b"chunked world"),
         r("PUT", "/{f}?cm=true&" + PAST, {"Content-Type": "application/json"},
           b'{"name":"w.css","mime":"a/b","size":19,"chunks":[{"fid":"3,{K}0b00000001","offset":6,"size":13},'
           b'{"fid":"3,{K}0a00000001","offset":0,"size":6}]}'),
         r("GET", "/{f}"), r("HEAD", "/{f}"), r("GET", "/{f}?cm=false"), r("GET", "/{f}", {"Range": "bytes=4-8"}),
         r("GET", "/3/{k}/x.png"), r("GET", "/{f}", {"Range": "bytes=0-1,5-6"}), r("GET", "/{f}", {"If-None-Match": "x"}),
         r("DELETE", "/{f}"), r("GET", "/{f}"), r("GET", "/3,{K}0a00000001"), r("GET", "/3,{K}0b00000001")),
    Case("chunk manifest without type", r("PUT", "/3,{K}0a00000001", {}, b"<html><b>"), r("PUT", "/{f}.txt?cm=true&" + PAST, {},
           b'{"chunks":[{"fid":"3,{K}0a00000001","size":9}]}'), r("GET", "/{f}"), r("DELETE", "/{f}")),
    Case("chunk manifest with errors",
         r("PUT", "/{f}?cm=true&" + PAST, {}, b'{"chunks":[{"fid":"3,{K}0c00000001","offset":0,"size":5}]}'), r("GET", "/{f}"),
         r("HEAD", "/{f}"), r("DELETE", "/{f}"),
         r("PUT", "/3,{K}0100000001?cm=true&" + PAST, {}, b'{"chunks":[{"fid":"99,{K}0c00000001","offset":0,"size":5}]}'),
         r("GET", "/3,{K}0100000001"), r("DELETE", "/3,{K}0100000001"), r("PUT", "/3,{K}0d00000001", {}, b"123"),
         r("PUT", "/3,{K}0200000001?cm=true&" + PAST, {}, b'{"chunks":[{"fid":"3,{K}0d00000001","offset":3,"size":3}]}'),
         r("GET", "/3,{K}0200000001"),
         r("PUT", "/3,{K}0300000001?cm=true&" + PAST, {}, b"no manifest"), r("GET", "/3,{K}0300000001")),
    Case("conditions", r("PUT", "/{f}" + P, {}, b"hello"), r("GET", "/{f}", {"If-None-Match": '"9a71bb4c"'}),
         r("HEAD", "/{f}", {"If-None-Match": '"9a71bb4c"'}), r("GET", "/{f}", {"If-None-Match": "*"}),
         r("GET", "/{f}", {"If-None-Match": '"x", "9a71bb4c"'}),
         r("GET", "/{f}", {"If-Modified-Since": "Sun, 13 Sep 2020 12:26:40 GMT"}),
         r("GET", "/{f}", {"If-Modified-Since": "Sun, 13 Sep 2020 12:26:39 GMT"}),
         r("GET", "/{f}", {"If-Modified-Since": "Sunday, 13-Sep-20 12:26:40 GMT"}),
         r("GET", "/{f}", {"If-Modified-Since": "Sun, 13 Sep 2020 12:26:40 GMT", "If-None-Match": '"x"'})),
    Case("ranges", r("PUT", "/{f}" + P, {}, b"0123456789"), *[
        r("GET", "/{f}", {"Range": value}) for value in (
            "bytes=0-1", "bytes=2-", "bytes=-3", "bytes=-0", "bytes=-99", "bytes=5-99", "bytes=10-", "bytes=9-", "bytes=3-1",
            "bytes=", "bytes=a-b", "bytes=1", "items=0-1", "bytes=0-1,3-4", "bytes=0-1,20-", "bytes=20-,30-", "bytes=0-7,1-8",
            "bytes= 0-1 , 2-3 ,", "bytes=0-1,x", "bytes=+1-2", "bytes=0-0,-1")],
         r("HEAD", "/{f}", {"Range": "bytes=0-1"})),
    Case("ranges with a type", r("PUT", "/{f}" + P, {"Content-Type": "a/b"}, b"0123456789"),
         r("GET", "/{f}", {"Range": "bytes=0-1,3-4"}), r("GET", "/{f}", {"Range": "bytes=0-1"})),
    Case("ranges of stored gzip", r("PUT", "/{f}" + P, {"Content-Type": "text/plain"}, TEXT),
         r("GET", "/{f}", {"Range": "bytes=0-1,3-4"}), is_packed=True),
    Case("big", r("PUT", "/{f}" + P, {}, BIG), r("GET", "/{f}"), r("HEAD", "/{f}"), r("GET", "/{f}", {"Range": "bytes=1000000-1999999"}),
         r("GET", "/{f}", {"Range": "bytes=-5"}), r("GET", "/{f}", {"Range": "bytes=0-1,1500000-1500009"}),
         r("GET", "/{f}", {"Range": "bytes=9000000-"}), r("GET", "/{f}", {"If-None-Match": "x"}), r("DELETE", "/{f}")),
    Case("overrides", r("PUT", "/{f}" + P, {}, b"hello"),
         r("GET", "/{f}?response-content-type=a%2Fb&response-expires=soon&response-cache-control=x&response-content-language=de"),
         r("GET", "/{f}?Response-Content-Disposition=attachment"), r("GET", "/{f}?response-content-disposition="),
         r("GET", "/{f}?response-content-encoding=x"), r("GET", "/{f}?response-content-type=a/b", {"Range": "bytes=1-2"}),
         r("GET", "/{f}?response-content-type="), r("HEAD", "/{f}?response-content-type=a/b")),
    Case("cors", r("PUT", "/{f}" + P, {"Origin": "http://a"}, b"hello"), r("GET", "/{f}", {"Origin": "http://a"}),
         r("OPTIONS", "/{f}", {"Origin": "http://a"}), r("OPTIONS", "/{f}"), r("GET", "/x", {"Origin": "http://a"}),
         r("OPTIONS", "/")),
    Case("methods", r("PATCH", "/{f}", {}, b"x"), r("TRACE", "/{f}")),
    Case("bad reads", *[r("GET", target) for target in (
        "/", "/3", "/x,{k}", "/3,{k}zz", "/3,01", "/3,", "/,{k}", "/3,{k}", "/99,{k}", "/a/b/c/d/e", "/3/4", "/metrics", "/status/x",
        "/3,{k}_x", "/3,{k}_", "/-3,{k}", "/3,123456789012345678901234567890", "/stats/disk", "/vol/status")], r("HEAD", "/3,{k}"), r("HEAD", "/x")),
    Case("delta", r("PUT", "/3,{k}_2" + P, {}, b"delta"), r("GET", "/3,{k}_2"), r("GET", "/3,{k}"), r("DELETE", "/3,{k}_2")),
    Case("delta that overflows", r("PUT", "/3,ffffffffffffffff637037d6_1", {}, b"x"),
         differs="the peer prints the hex digits of the hex digits of the key"),
    Case("wrong cookie", r("PUT", "/{f}" + P, {}, b"hello"), r("GET", "/3,{K}00000001"), r("DELETE", "/3,{K}00000001"),
         r("PUT", "/3,{K}00000001", {}, b"other"), r("GET", "/{f}")),
    Case("overwrite", r("PUT", "/{f}" + P, {}, b"one"), r("PUT", "/{f}" + P, {}, b"two"), r("GET", "/{f}")),
    Case("delete", r("PUT", "/{f}" + P, {}, b"hello"), r("DELETE", "/{f}"), r("DELETE", "/{f}"), r("GET", "/{f}"),
         r("GET", "/{f}?readDeleted=true"), r("PUT", "/3,{K}00000001", {}, b"other"), r("PUT", "/{f}" + P, {}, b"again"), r("GET", "/{f}")),
    Case("bad deletes", *[r("DELETE", target) for target in ("/3", "/", "/x,{k}", "/99,{k}", "/3,{k}", "/3,01", "/3,{k}zz", "/a/b/c/d/e")]),
    Case("bad writes", *[r("PUT", target, {}, b"hello") for target in (
        "/x,{k}", "/3,01", "/3,{k}zz", "/99,{k}", "/3/{k}", "/{f}?a=%zz", "/{f}?a=1;b=2", "/", "/3", "/a/b/c/d/e", "/3,{k}/name")]),
    Case("unclean paths", r("GET", "//{f}"), r("GET", "//{f}?a=b&c=%20"), r("PUT", "//{f}", {}, b"x"), r("GET", "/a/../{f}"),
         r("HEAD", "//{f}"), r("GET", "/./{f}"), r("DELETE", "//{f}"), r("GET", "/3/{k}//"), r("GET", "/%2F{f}")),
    Case("escaped path", r("PUT", "/{f}" + P, {}, b"hello"), r("GET", "/3%2C{k}"), r("GET", "/3%2c{k}%2Ejpg")),
    Case("pretty", r("PUT", "/x,1?pretty=y", {}, b""), r("DELETE", "/99,{k}?pretty=1"), r("PUT", "/{f}?pretty=y&" + PAST, {}, b"hello")),
    Case("empty type", r("PUT", "/{f}" + P, {"Content-Type": ""}, b"hello"), r("GET", "/{f}")),
    Case("html escaped in errors", r("PUT", "/<x&>,{k}", {}, b"hello")),
    Case("sniffing", *[step for i, data in enumerate((b"<html><body>", b"%PDF-1.4", b"\x89PNG\r\n\x1a\n....", b"GIF89a..", b"\0\1\2\3",
                                                      b"<?xml version", b"\x1f\x8b\x08\0\0\0", b"PK\3\4....", b"  plain"))
                       for step in (r("PUT", f"/3,{{K}}{i:02d}{COOKIE}{P}", {}, data), r("GET", f"/3,{{K}}{i:02d}{COOKIE}"))]),
    Case("urlencoded body", r("PUT", "/{f}", {"Content-Type": "application/x-www-form-urlencoded"}, b"a=b"),
         differs="the peer takes the body for parameters and stores nothing; it is stored here"),
    Case("health", r("GET", "/healthz"), r("GET", "/readyz"), r("HEAD", "/healthz"), r("POST", "/healthz", {}, b"")),
]

OWN = {"Date", "Connection", "X-Amz-Request-Id", "Keep-Alive"}


class Side:
    """One of the two servers: its address, and its answers in a form that can be compared."""

    def __init__(self, port, process):
        self.port, self.process = port, process

    def ask(self, method, target, headers, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
            return self.normal(method, answer, data)
        finally:
            connection.close()

    def normal(self, method, answer, data):
        headers = {}
        for name, value in answer.getheaders():
            if name.title() in OWN:
                continue
            headers.setdefault(name.title(), []).append(value)
        data = data.replace(f"127.0.0.1:{self.port}".encode(), b"HOST")
        boundary = re.search(r"boundary=([0-9a-f]{60})", headers.get("Content-Type", [""])[0])
        if boundary:
            data = data.replace(boundary[1].encode(), b"BOUNDARY")
            headers["Content-Type"] = ["multipart/byteranges; boundary=BOUNDARY"]
        modified = headers.get("Last-Modified", [""])[0]
        if modified and "2020" not in modified:
            headers["Last-Modified"] = ["NOW"]
        if "Transfer-Encoding" in headers or "Content-Length" in headers:
            # Chunked or not is the HTTP layer's own affair.
            headers.pop("Transfer-Encoding", None)
            if answer.status not in (204, 304) and data:
                headers["Content-Length"] = [str(len(data))]
        if headers.get("Content-Encoding") == ["gzip"]:
            # Two compressors: what counts is what comes out.
            data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
            headers.pop("Content-Length", None)
        if method == "HEAD" and (answer.status >= 300 or headers.get("Content-Length") == ["0"]):
            headers.pop("Content-Length", None)  # the peer has none, which is the same
        return answer.status, headers, data

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wait_for(url, process, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"no answer from {url}")


def start_weed(folder):
    master, volume = free_port(), free_port()
    folder.mkdir()
    process = subprocess.Popen(
        [WEED, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}",
         f"-master.port.grpc={free_port()}", f"-volume.port={volume}", f"-volume.port.grpc={free_port()}", "-volume.max=5",
         "-master.volumeSizeLimitMB=64"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(f"http://127.0.0.1:{volume}/healthz", process)
    deadline = time.monotonic() + 30
    while True:  # until volume 3 has been grown
        wait_for(f"http://127.0.0.1:{master}/cluster/status", process)
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{master}/dir/assign", timeout=5).read()
            status = json.load(urllib.request.urlopen(f"http://127.0.0.1:{volume}/status", timeout=5))
            if any(v["Id"] == 3 for v in status["Volumes"] or []):
                return Side(volume, process)
        except OSError:
            pass
        assert time.monotonic() < deadline, "the peer grew no volume 3"
        time.sleep(0.05)


def start_ours(folder):
    folder.mkdir()
    port = free_port()
    process = subprocess.Popen([DATA_PORT, str(folder), str(port), "1", "5"], stdout=subprocess.PIPE)
    assert b"serving" in process.stdout.readline()
    return Side(port, process)


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    root = tmp_path_factory.mktemp("compare")
    peer, ours = start_weed(root / "peer"), start_ours(root / "ours")
    yield peer, ours
    peer.stop()
    ours.stop()


def fill_in(text, number):
    key = f"{0x100 + number:x}"
    return text.replace("{f}", f"3,{key}{COOKIE}").replace("{k}", key + COOKIE).replace("{K}", key)


def without_crc(answer):
    status, headers, data = answer
    data = re.sub(rb'"eTag":"[0-9a-f]{8}"', b'"eTag":"CRC"', data)
    return status, {**headers, "Etag": ["CRC"], "Content-Length": ["?"]}, data


def show(answer):
    status, headers, data = answer
    lines = "\n".join(f"  {name}: {value}" for name, value in sorted(headers.items()))
    return f"{status}\n{lines}\n  {data[:300]!r} ({len(data)} bytes)"


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
def test_answers_are_the_peers(sides, number):
    peer, ours = sides
    case = CASES[number]
    wrong = []
    for method, target, headers, body in case.requests:
        target = fill_in(target, number)
        if body:
            body = body.replace(b"{K}", f"{0x100 + number:x}".encode())
        expected, got = peer.ask(method, target, headers, body), ours.ask(method, target, headers, body)
        if case.is_packed:
            expected, got = without_crc(expected), without_crc(got)
        if expected[0] != got[0] or (not case.differs and expected != got):
            wrong.append(f"{method} {target} {headers}\npeer: {show(expected)}\nours: {show(got)}")
    assert not wrong, "\n\n".join(wrong)
