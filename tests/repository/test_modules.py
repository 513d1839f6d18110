"""A module imports only from those above it, so that each can be read without the ones below.

The order is that of the table in CONTRIBUTING.rst.
"""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import komfortkasse_django

PACKAGE = Path(komfortkasse_django.__file__).parent
_LAYOUT = (
    (PACKAGE.parent / "CONTRIBUTING.rst")
    .read_text(encoding="utf-8")
    .partition("How the code is laid out")[2]
)
_WAY = _LAYOUT.partition("The way of an order")[2].partition("The tests")[0]
ORDER = ["", *re.findall(r"(?m)^``([a-z_.]+)`` {2,}", _LAYOUT)]
SOURCES = [path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts]
# What may be imported inside of a function, and why.
LATE = {
    # requests takes 100 ms to import; Django starts without it.
    ("client", "api.exchange"),
    ("queue.delivery", "queue.pushing"),
    # Reading answers takes 30 ms more.
    ("reports.wording", "schema"),
    # A task is judged by the TASKS setting when it is defined.
    ("queue.delivery", "tasks"),
    # Django has to be set up first.
    ("apps", "admin.attach"),
    ("apps", "checks"),
    ("apps", "queue.budget"),
    ("apps", "receivers"),
}


def module_of(path: Path) -> str:
    """``queue/leases.py`` is ``queue.leases``, ``admin/__init__.py`` is ``admin``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[:2] == ("management", "commands"):
        return "management.commands"
    if parts[0] == "templatetags":
        return "templatetags"
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_of(path) for path in SOURCES}


def is_empty(path: Path) -> bool:
    """Whether it only makes its folder a package."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return not [node for node in body if not isinstance(node, ast.Expr)]


def names_in(tree: ast.AST) -> set[str]:
    """Full names of the modules that are imported anywhere in it, late imports too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "write whole paths"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name.partition(".")[2] in MODULES else node.module)
    return found


def imports_of(path: Path) -> set[str]:
    return names_in(ast.parse(path.read_text(encoding="utf-8")))


def ours(names: set[str]) -> set[str]:
    """Those of the package, by their names in it."""
    modules = {
        name.removeprefix("komfortkasse_django").removeprefix(".")
        for name in names
        if name.split(".")[0] == "komfortkasse_django"
    }
    # "from komfortkasse_django.queue import leases" also names the empty package "queue".
    packages = {
        module_of(path) for path in SOURCES if path.name == "__init__.py" and is_empty(path)
    }
    return (modules & MODULES) - packages


def test_every_module_has_its_place():
    listed = [module for module in ORDER if module]

    assert len(set(listed)) == len(listed)
    assert set(listed) == {module_of(path) for path in SOURCES if not is_empty(path)} - {""}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_from_above(path):
    if is_empty(path):
        return
    module = module_of(path)
    above = {"", *ORDER[: ORDER.index(module)], module}

    assert ours(imports_of(path)) - above == set()


def test_late_imports_have_a_reason():
    late = set()
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                late |= {(module_of(path), other) for other in ours(names_in(node))}

    assert late == LATE


@pytest.mark.parametrize("name", sorted(set(re.findall(r"``([a-z_]+\.[\w.]+)``", _WAY))))
def test_what_the_way_of_an_order_names_exists(name):
    module = name
    while module not in MODULES:
        module = module.rpartition(".")[0]
    found = importlib.import_module(f"komfortkasse_django.{module}")

    for part in name.removeprefix(f"{module}.").split("."):
        found = getattr(found, part)


def importers_of(*libraries: str) -> set[str]:
    return {
        module_of(path)
        for path in SOURCES
        if any(name.split(".")[0] in libraries for name in imports_of(path))
    }


def test_only_the_client_knows_http():
    assert importers_of("requests", "urllib3", "http") == {
        "api.attempt",
        "api.connections",
        "api.exchange",
    }


def test_only_the_task_module_knows_tasks():
    assert importers_of("django_tasks") == {"tasks"}


@pytest.mark.parametrize("module", ["exceptions", "signals", "schema", "api", "client"])
def test_below_the_models_is_no_database(module):
    paths = [path for path in SOURCES if module_of(path).split(".")[0] == module]
    names = {name for path in paths for name in imports_of(path)}

    assert paths
    assert {name for name in names if name.startswith("django.db")} <= {
        "django.db.models",
        "django.db.models.TextChoices",
    }


@pytest.mark.parametrize(
    "module",
    ["requests", "komfortkasse_django.schema", "komfortkasse_django.queue.pushing"],
)
def test_setup_does_not_import(module):
    """They cost more than the rest of the app: only who makes a call pays for them."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import django, sys; django.setup(); print({module!r} in sys.modules)",
        ],
        env={
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONPATH": str(PACKAGE.parent),
            "PATH": "",
        },
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "False"


def test_nothing_configures_the_settings():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"settings.configure", "override_settings"}, path
                if called in {"setattr", "delattr"}:
                    assert ast.unparse(node.args[0]) != "settings", path


def test_nothing_writes_to_the_settings():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            for target in targets:
                assert not (
                    isinstance(target, ast.Attribute)
                    and isinstance(target.value, ast.Name)
                    and target.value.id == "settings"
                ), path


@pytest.mark.parametrize(
    ("kind", "limit"), [(ast.ClassDef, 150), (ast.FunctionDef, 40)], ids=["classes", "functions"]
)
def test_nothing_is_long(kind, limit):
    lengths = {
        f"{module_of(path)}.{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, kind)
    }

    assert lengths
    assert {name: length for name, length in lengths.items() if length > limit} == {}
