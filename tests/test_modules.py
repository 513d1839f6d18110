"""A module imports only from those above it, so that each can be read without the ones below."""

import ast
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
ORDER = ["__init__", *re.findall(r"(?m)^``(\w+)`` {2,}", _LAYOUT)]
# The pair that has to break the order: what is recorded is delivered, which is to push it.
EXCEPTIONS = {("removals", "tasks")}
SOURCES = [path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts]


def module_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Full names of what is imported anywhere in the file, late imports and relative ones too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "komfortkasse_django" if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            found.add(module)
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def ours(path: Path) -> set[str]:
    names = {
        name.split(".")[1] for name in imports_of(path) if name.startswith("komfortkasse_django.")
    }
    return names & {module_of(source) for source in SOURCES}


def test_every_module_has_its_place():
    assert {module_of(path) for path in SOURCES} == set(ORDER)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_from_above(path):
    module = module_of(path)
    above = set(ORDER[: ORDER.index(module)]) | {module}

    below = {(module, other) for other in ours(path) - above}

    assert below <= EXCEPTIONS


def test_the_exceptions_are_needed():
    found = {(module_of(path), other) for path in SOURCES for other in ours(path)}

    assert found >= EXCEPTIONS


def test_what_runs_tasks_is_imported_late():
    """A task is judged by the TASKS setting when it is defined; the other two need each other."""
    for module, other in [*EXCEPTIONS, ("tasks", "background")]:
        tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
        at_once = [node for node in tree.body if isinstance(node, ast.ImportFrom)]

        assert other not in {alias.name for node in at_once for alias in node.names}
        assert f"komfortkasse_django.{other}" not in {node.module for node in at_once}


def importers_of(*libraries: str) -> set[str]:
    return {
        module_of(path)
        for path in SOURCES
        if any(name.split(".")[0] in libraries for name in imports_of(path))
    }


def test_only_the_client_knows_http():
    assert importers_of("requests", "urllib3", "http") == {"_http"}


def test_only_the_task_module_knows_tasks():
    assert importers_of("django_tasks") == {"background"}


@pytest.mark.parametrize("module", ["exceptions", "signals", "schema", "_http", "client"])
def test_below_the_models_is_no_database(module):
    names = imports_of(PACKAGE / f"{module}.py")

    assert {name for name in names if name.startswith("django.db")} <= {
        "django.db.models",
        "django.db.models.TextChoices",
    }


@pytest.mark.parametrize(
    "module", ["requests", "komfortkasse_django.schema", "komfortkasse_django.runs"]
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
