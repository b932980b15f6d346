"""The list of tests/lib/http_cases_*.py against the released peer: where the table says nothing else, the peer answers
as we do, and where it says so (`differs`) the peer does what the table says. So the list tells the truth about both."""
import pytest
from lib import http_cases_blob, http_cases_body, http_cases_field, http_cases_line
from lib.cluster import Cluster
from lib.http_exchange import Connection, play
from lib.http_message import Blobs

CASES = [case for part in (http_cases_line, http_cases_field, http_cases_body, http_cases_blob) for case in part.CASES]


@pytest.fixture(scope='module')
def peer(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp('conformance')) as cluster:
        cluster.weed_master()
        server = cluster.weed_volume('-fileSizeLimitMB=1')
        blobs = Blobs(cluster.assign()['fid'].split(',')[0])
        with Connection(server.address) as connection:
            for request in blobs.requests():
                connection.send(request)
                assert connection.answer().status == 201
        yield server.address, blobs


def test_the_peer_is_right_about_most():
    assert sum(case.differs is None for case in CASES) >= 300


@pytest.mark.parametrize('number', [n for n, case in enumerate(CASES) if case.peer_answers is not None],
                         ids=[case.name for case in CASES if case.peer_answers is not None])
def test_the_peer_answers_as_the_list_says(peer, number):
    address, blobs = peer
    case = CASES[number]
    got, wrong = play(address, case, blobs.fill_in(number), case.peer_answers, case.peer_open)
    assert not wrong, f'{case.differs}\n' + '\n'.join(wrong) + f'\ncame: {got}'
