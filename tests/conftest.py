"""What all black-box tests share."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from lib.cluster import Cluster  # noqa: E402


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path) as running:
        yield running


@pytest.fixture(scope='module')
def kelp(tmp_path_factory):
    """A master and two volume servers, for all tests of a file."""
    with Cluster(tmp_path_factory.mktemp('kelp')) as cluster:
        cluster.kelp_master()
        for _ in range(2):
            cluster.kelp_volume()
        yield cluster
