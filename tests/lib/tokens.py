"""JSON web tokens with an HMAC, good ones and others."""
import base64
import hashlib
import hmac
import json

WRITE_KEY, READ_KEY = 'key-for-writing', 'key-for-reading'


def _encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def token(fid, key=WRITE_KEY, alg='HS256', header=None, **claims):
    """Signed with the digest that `alg` names; "none" is not signed."""
    head = json.dumps({'alg': alg, 'typ': 'JWT'} if header is None else header, separators=(',', ':'))
    body = json.dumps({'fid': fid, **claims}, separators=(',', ':'))
    text = f'{_encode(head.encode())}.{_encode(body.encode())}'
    digest = {'HS384': hashlib.sha384, 'HS512': hashlib.sha512}.get(alg, hashlib.sha256)
    mac = b'' if alg == 'none' else hmac.new(key.encode(), text.encode(), digest).digest()
    return f'{text}.{_encode(mac)}'


def claims_of(text):
    part = text.split('.')[1]
    return json.loads(base64.urlsafe_b64decode(part + '=' * (-len(part) % 4)))


def bearer(text):
    return {'Authorization': f'Bearer {text}'}
