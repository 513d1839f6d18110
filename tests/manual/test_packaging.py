"""Declared versions are tested, deprecations are errors, and hooks run what script/test runs."""

import configparser
import re
import tomllib
import warnings
from pathlib import Path

import pytest
from django.utils import deprecation

ROOT = Path(__file__).parents[2]


@pytest.fixture
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture
def tox() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["tox"]


def test_the_oldest_requests_is_tried(setup_cfg, tox):
    (declared,) = re.findall(r"(?m)^requests>=(.+)$", setup_cfg["options"]["install_requires"])
    tried = [dep["then"] for dep in tox["env_run_base"]["deps"] if "oldest" in dep["condition"]]

    assert f"requests=={declared}" in tried[0]


def test_every_version_that_is_declared_is_tried(setup_cfg, tox):
    classifiers = setup_cfg["metadata"]["classifiers"]
    pythons = re.findall(r"(?m)Python :: (3\.\d+)$", classifiers)
    djangos = re.findall(r"(?m)Django :: (\d+\.\d+)$", classifiers)
    matrix = [
        group for each in tox["env_list"] if isinstance(each, dict) for group in each["product"]
    ]
    tried = {factor for group in matrix for factor in group}

    assert {name for name in tried if name.startswith("py")} == {
        f"py{version.replace('.', '')}" for version in pythons
    }
    assert {name for name in tried if name.startswith("django")} == {
        f"django{version.replace('.', '')}" for version in djangos
    }


@pytest.mark.parametrize(
    "category",
    [
        DeprecationWarning,
        PendingDeprecationWarning,
        FutureWarning,
        deprecation.RemovedInNextVersionWarning,
        deprecation.RemovedAfterNextVersionWarning,
    ],
)
def test_deprecations_are_errors(category):
    with pytest.raises(category, match="old"):
        warnings.warn("old", category, stacklevel=1)


def test_the_hooks_run_what_script_test_runs():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    script = (ROOT / "script" / "test").read_text(encoding="utf-8")

    entries = re.findall(r"(?m)^ +entry: (.+)$", hooks)

    assert [entry.replace("--force-exclude", ".") for entry in entries] == [
        f".venv-test/bin/python -m {command}"
        for command in re.findall(r'(?m)^"\$python" -m (ruff .+|mypy)$', script)
    ]
