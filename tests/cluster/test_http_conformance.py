"""The list of tests/lib/http_cases_*.py against a kelp volume server: each case on a connection of its own, and
afterwards what it stored. tests/interop/test_http_conformance_peer.py holds the same list to the released peer."""
import pytest
from lib import http_cases_blob, http_cases_body, http_cases_field, http_cases_line
from lib.cluster import Cluster
from lib.http_exchange import Connection, play
from lib.http_message import Blobs, get

CASES = [case for part in (http_cases_line, http_cases_field, http_cases_body, http_cases_blob) for case in part.CASES]


class Side:
    def __init__(self, address, volume):
        self.address, self.blobs = address, Blobs(volume)
        for request in self.blobs.requests():
            assert self.ask(request).status == 201

    def ask(self, request):
        with Connection(self.address) as connection:
            connection.send(request)
            return connection.answer()


@pytest.fixture(scope='module')
def side(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp('conformance')) as cluster:
        cluster.kelp_master()
        server = cluster.kelp_volume('-fileSizeLimitMB=1')
        yield Side(server.address, cluster.assign()['fid'].split(',')[0])
        server.check_alive()


def test_the_list_is_long_and_has_no_name_twice():
    assert len(CASES) >= 300 and len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize('number', range(len(CASES)), ids=[case.name for case in CASES])
def test_answers_are_those_of_the_list(side, number):
    case, fill_in = CASES[number], side.blobs.fill_in(number)
    got, wrong = play(side.address, case, fill_in, case.answers, case.is_open)
    if case.stored is not None:
        found = side.ask(fill_in(get('{f}')))
        if found.status != (200 if case.stored else 404) or found.body != case.stored:
            wrong.append(f'stored: {found}')
    assert not wrong, f'{case.why}\n' + '\n'.join(wrong) + f'\ncame: {got}'
