"""Writes volume files byte for byte (format: volume/storage/format/needle.h, index_file.h), for tests that need what no
server writes: odd names, times, rows that are missing."""
import struct

BEGUN = 1_760_000_000  # 2025-10-09T08:53:20Z


def _crc_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = (i >> 1) ^ 0x82F63B78 if i & 1 else i >> 1
        table.append(i)
    return table


CRC_TABLE = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


class VolumeWriter:
    def __init__(self, offset_bytes=5):
        self.dat, self.idx = bytearray(b'\3' + bytes(7)), bytearray()
        self.offset_bytes = offset_bytes
        self.stamp = BEGUN * 10**9

    def _append(self, key, body, data):
        offset = len(self.dat)
        self.stamp += 1000
        record = struct.pack('>IQI', 0x1a2b3c4d, key, len(body)) + body
        record += struct.pack('>IQ', crc32c(data) if data else 0, self.stamp)
        self.dat += record + bytes(8 - len(record) % 8)
        return offset

    def row(self, key, offset, size):
        units = offset // 8
        high = bytes([units >> 32]) if self.offset_bytes == 5 else b''
        self.idx += struct.pack('>QI', key, units & 0xFFFFFFFF) + high + struct.pack('>i', size)

    def put(self, key, data, name=None, mime=None, modified=BEGUN, ttl=None, pairs=None, flags=0, has_row=True):
        body = b''
        if data:
            parts = b''
            if name is not None:
                flags, parts = flags | 2, parts + bytes([len(name)]) + name
            if mime is not None:
                flags, parts = flags | 4, parts + bytes([len(mime)]) + mime
            if modified is not None:
                flags, parts = flags | 8, parts + struct.pack('>Q', modified)[3:]
            if ttl:
                flags, parts = flags | 16, parts + bytes(ttl)
            if pairs is not None:
                flags, parts = flags | 32, parts + struct.pack('>H', len(pairs)) + pairs
            body = struct.pack('>I', len(data)) + data + bytes([flags]) + parts
        offset = self._append(key, body, data)
        if has_row:
            self.row(key, offset, len(body))
        return offset

    def delete(self, key):
        self.row(key, self._append(key, b'', b''), -1)

    def save(self, folder, base):
        folder.mkdir(exist_ok=True)
        (folder / f'{base}.dat').write_bytes(self.dat)
        (folder / f'{base}.idx').write_bytes(self.idx)
