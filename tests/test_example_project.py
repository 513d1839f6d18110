"""The example project has tests of its own; they need its settings, so they run in a process."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLE_PROJECT = ROOT / "example_project"


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def manage(tmp_path):
    """Run a command of the example project in a copy that no ``.env`` file influences."""
    example_project = tmp_path / "example_project"
    ignore = shutil.ignore_patterns(".env", "*.sqlite3*", "__pycache__", ".*_cache")
    shutil.copytree(EXAMPLE_PROJECT, example_project, ignore=ignore)

    def manage(*arguments: str) -> str:
        completed = run(sys.executable, "-W", "error", example_project / "manage.py", *arguments)
        assert completed.returncode == 0, completed.stdout + completed.stderr
        return completed.stdout

    return manage


def test_passes_the_checks(manage):
    assert "no issues" in manage("check", "--fail-level", "WARNING")


def test_is_safe_by_default(manage):
    setting = "from django.conf import settings; print(settings.DEBUG, settings.ALLOWED_HOSTS)"
    assert manage("shell", "-v", "0", "-c", setting) == "False ['127.0.0.1', 'localhost']\n"


def test_has_all_migrations(manage):
    manage("makemigrations", "--check", "--dry-run")
    manage("migrate")


def test_passes_its_own_tests(manage):
    manage("test", "--noinput", "shop", "sandbox")


def test_explains_every_variable_of_the_settings():
    settings = (EXAMPLE_PROJECT / "config" / "settings.py").read_text()
    explained = (EXAMPLE_PROJECT / ".env.example").read_text()
    names = {line.lstrip("#").partition("=")[0] for line in explained.splitlines() if "=" in line}

    assert names == set(re.findall(r'env\.\w+\(\s*"(\w+)"', settings))


class TestScripts:
    def test_demo_refuses_unknown_arguments(self):
        completed = run("sh", ROOT / "script" / "demo", "--chekc")

        assert completed.returncode == 2
        assert "Usage: script/" in completed.stderr

    @pytest.mark.parametrize("name", ["demo", "test", "test-package"])
    def test_explain_themselves(self, name):
        completed = run("sh", ROOT / "script" / name, "--help")

        assert completed.returncode == 0
        assert f"Usage: script/{name}" in completed.stdout

    @pytest.mark.parametrize("name", ["demo", "test", "test-package"])
    def test_say_that_python_is_missing(self, name):
        completed = run("sh", ROOT / "script" / name, PYTHON="no-such-python")

        assert completed.returncode == 1
        assert "install Python 3.11 or later" in completed.stderr

    @pytest.mark.parametrize("name", ["demo", "test", "test-package"])
    def test_say_that_python_is_too_old(self, name, tmp_path):
        old = tmp_path / "python"
        old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.10.1\n[ -z "$2" ]\n')
        old.chmod(0o755)

        completed = run("sh", ROOT / "script" / name, PYTHON=str(old))

        assert completed.returncode == 1
        assert "Python 3.10.1 is too old" in completed.stderr

    @pytest.mark.skipif(not shutil.which("dash"), reason="needs dash")
    @pytest.mark.parametrize("name", ["demo", "test", "test-package"])
    def test_are_posix_shell(self, name):
        assert run("dash", "-n", ROOT / "script" / name).returncode == 0
