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
