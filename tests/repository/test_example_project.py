"""The example project has tests of its own; they need its settings, so they run in a process."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polib
import pytest

ROOT = Path(__file__).parent.parent.parent
EXAMPLE_PROJECT = ROOT / "example_project"


@pytest.fixture
def manage(tmp_path):
    """Run a command of the example project in a copy that no ``.env`` file influences."""
    example_project = tmp_path / "example_project"
    ignore = shutil.ignore_patterns(".env", "*.sqlite3*", "__pycache__", ".*_cache")
    shutil.copytree(EXAMPLE_PROJECT, example_project, ignore=ignore)

    def manage(*arguments: str) -> str:
        completed = subprocess.run(
            [sys.executable, "-W", "error", example_project / "manage.py", *arguments],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
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


def test_is_german_in_german():
    """The catalogue has the texts of the code, no others, and is compiled."""
    code = "".join(path.read_text() for path in EXAMPLE_PROJECT.rglob("*.py"))
    messages = EXAMPLE_PROJECT / "locale" / "de" / "LC_MESSAGES"
    catalogue = polib.pofile(str(messages / "django.po"))
    compiled = polib.mofile(str(messages / "django.mo"))

    german = {entry.msgid: entry.msgstr for entry in catalogue if not entry.obsolete}

    assert german.keys() == set(re.findall(r'\b_\("([^"]+)"\)', code))
    assert all(german.values())
    assert german == {entry.msgid: entry.msgstr for entry in compiled}
