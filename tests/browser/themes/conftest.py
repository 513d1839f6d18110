"""Other themes of the admin, each in a process of its own: ``script/test-themes`` runs them."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return None if any("themes" in argument for argument in config.args) else True
