from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recipes.project import Project
from tests.support.loopback import Komfortkasse, Server


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A shop that is installed as the manual says, beside a Komfortkasse."""
    komfortkasse = Komfortkasse()
    with Server(komfortkasse.serve) as server:
        yield Project(tmp_path, server, komfortkasse)
