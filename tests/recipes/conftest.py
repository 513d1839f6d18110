from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback import Komfortkasse, Server
from tests.recipes.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A shop that is installed as the manual says, beside a Komfortkasse."""
    komfortkasse = Komfortkasse()
    with Server(komfortkasse.serve) as server:
        yield Project(tmp_path, server, komfortkasse)
