"""What is uploaded: built, taken apart, installed and used. ``script/test-package`` runs it."""

import os
import secrets
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SECRET = secrets.token_hex()
BUILT_AT = 1_700_000_000  # seconds


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave them out of the default run: they take a minute, and tools of their own."""
    return None if config.rootpath == HERE else True


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Run a command that has to succeed, and return what it printed."""
    ours = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "DJANGO_SETTINGS_MODULE"}
    completed = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name not in ours} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout
    return completed.stdout


@pytest.fixture(scope="session")
def tracked() -> set[str]:
    """The files of the repository, those not yet committed included."""
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    return {name for name in run(*command, cwd=ROOT).splitlines() if (ROOT / name).is_file()}


@pytest.fixture(scope="session")
def clone(tracked, tmp_path_factory) -> Callable[[], Path]:
    """Copy the repository's files to another place."""

    def clone() -> Path:
        tree = tmp_path_factory.mktemp("clone")
        for name in tracked:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
        return tree

    return clone


@dataclass(frozen=True)
class Distributions:
    sdist: Path
    wheel: Path
    log: str


def build(tree: Path) -> Distributions:
    log = run(sys.executable, "-m", "build", cwd=tree, SOURCE_DATE_EPOCH=str(BUILT_AT))
    (sdist,) = (tree / "dist").glob("*.tar.gz")
    (wheel,) = (tree / "dist").glob("*.whl")
    return Distributions(sdist, wheel, log)


@pytest.fixture(scope="session")
def built(clone) -> Distributions:
    return build(clone())


@pytest.fixture(scope="session")
def built_elsewhere(clone) -> Distributions:
    """The same files built by another user, later, in a tree with other files left from work."""
    tree = clone()
    for directory in (tree, *(tree / name for name in ("example_project", "tests", "script"))):
        (directory / ".env").write_text(f"KOMFORTKASSE_API_KEY={SECRET}")
        (directory / "db.sqlite3").write_text(SECRET)
        (directory / "__pycache__").mkdir()
        (directory / "__pycache__" / "left.pyc").write_text(SECRET)
    for path in tree.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
        os.utime(path, (0, 0))
    umask = os.umask(0o077)
    try:
        return build(tree)
    finally:
        os.umask(umask)


@pytest.fixture(scope="session")
def python(built, tmp_path_factory) -> Path:
    """The Python of an environment that holds nothing but the wheel and what it depends on."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", built.wheel, cwd=environment)
    return python
