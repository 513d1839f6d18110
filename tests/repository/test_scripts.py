"""Every script explains itself, and says what it needs."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# The others are read by these, and by pip.
SCRIPTS = sorted(
    path.name for path in (ROOT / "script").iterdir() if path.is_file() and not path.suffix
)

each_script = pytest.mark.parametrize("name", SCRIPTS)


def run(shell: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shell, *map(str, arguments)],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def start(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run("sh", ROOT / "script" / name, *arguments, **environment)


@each_script
def test_is_in_the_table_of_all(name):
    contributing = (ROOT / "CONTRIBUTING.rst").read_text(encoding="utf-8")

    assert re.search(rf"``script/{name}\b(?!-)", contributing)


@each_script
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_explains_itself(name, option):
    completed = start(name, option)

    assert completed.returncode == 0
    assert f"Usage: script/{name}" in completed.stdout


@pytest.mark.parametrize("name", ["demo", "mutate", "test-engines", "test-shops", "test-themes"])
def test_refuses_what_it_does_not_know(name):
    completed = start(name, "typo")

    assert completed.returncode == 2
    assert f"script/{name}: " in completed.stderr
    assert "typo" in completed.stderr


@pytest.mark.parametrize("module", ["api", "queue.typo", "conf.typo"])
def test_refuses_modules_that_are_not_mutated(module):
    completed = start("mutate", "conf", module)

    assert completed.returncode == 2
    assert f"script/mutate: unknown module: {module}" in completed.stderr


@pytest.mark.parametrize("module", ["conf", "queue", "queue.leases"])
def test_takes_modules_and_folders_that_are_mutated(module):
    completed = start("mutate", module, PYTHON="no-such-python")

    assert "unknown module" not in completed.stderr


def test_mutates_what_is_declared():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    paths = declared["tool"]["mutmut"]["only_mutate"]
    script = (ROOT / "script" / "mutate").read_text(encoding="utf-8")
    survivors = (ROOT / "tests" / "survivors.txt").read_text(encoding="utf-8")

    modules = re.search(r'(?m)^modules="(.+)"$', script)[1].split()
    explained = re.findall(r"(?m)^\[(.+)\]$", survivors)

    assert [re.sub(r"^komfortkasse_django/|/\*$|\.py$", "", path) for path in paths] == modules
    assert {module.split(".")[0] for module in explained} <= set(modules)
    for module in explained:
        assert (ROOT / "komfortkasse_django" / f"{module.replace('.', '/')}.py").exists()


@each_script
def test_says_that_python_is_missing(name):
    completed = start(name, PYTHON="no-such-python")

    assert completed.returncode == 1
    assert "install Python 3.11 or later" in completed.stderr


@each_script
def test_says_that_python_is_too_old(name, tmp_path):
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.10.1\n[ -z "$2" ]\n')
    old.chmod(0o755)

    completed = start(name, PYTHON=str(old))

    assert completed.returncode == 1
    assert "Python 3.10.1 is too old" in completed.stderr


def test_says_that_the_package_is_tested_from_a_clone(tmp_path):
    completed = start("test-package", GIT_DIR=str(tmp_path))

    assert completed.returncode == 1
    assert "run it in a git clone" in completed.stderr


@pytest.mark.skipif(not shutil.which("dash"), reason="needs dash")
@pytest.mark.parametrize("name", [*SCRIPTS, "venv.sh"])
def test_is_posix_shell(name):
    assert run("dash", "-n", ROOT / "script" / name).returncode == 0
