"""Certificates of a CA that lives as long as a test, made by openssl."""
from lib.cluster import run


def make_certificates(folder, names=('node', 'renewed')):
    """ca.pem and, for 127.0.0.1, <name>.pem and <name>.key of each name; stranger.pem is another CA's."""
    def openssl(*words):
        run(['openssl', *words], cwd=folder)
    (folder / 'san').write_text('subjectAltName=IP:127.0.0.1,DNS:localhost\n')
    for authority in ('ca', 'other-ca'):
        openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
                '-subj', f'/CN={authority}', '-keyout', f'{authority}.key', '-out', f'{authority}.pem')
    for name in (*names, 'stranger'):
        authority = 'other-ca' if name == 'stranger' else 'ca'
        openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', f'/CN={name}',
                '-keyout', f'{name}.key', '-out', f'{name}.csr')
        openssl('x509', '-req', '-in', f'{name}.csr', '-CA', f'{authority}.pem', '-CAkey', f'{authority}.key',
                '-CAcreateserial', '-days', '2', '-extfile', 'san', '-out', f'{name}.pem')
