"""The manual as a document: it renders, hides no code from the tests, and tells the truth."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest
from django.core.management import BaseCommand, get_commands, load_command_class
from docutils import nodes

from komfortkasse_django.conf import Shop
from tests.readme import README, document, recipe, recipes

ROOT = Path(__file__).parent.parent


def rows(heading):
    """The rows of the table whose first column has this heading, as words."""
    for table in document().findall(nodes.table):
        head, body = (next(iter(table.findall(each))) for each in (nodes.thead, nodes.tbody))
        found = [
            [" ".join(cell.astext().split()) for cell in row.findall(nodes.entry)]
            for row in body.findall(nodes.row)
        ]
        if next(head.findall(nodes.entry)).astext() == heading:
            return found
    raise LookupError(heading)


def asked_for():
    """The blocks for which there is a ``recipe(...)`` in the tests."""
    for path in (ROOT / "tests").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "recipe":
                title, position = [*map(ast.literal_eval, call.args), 0][:2]
                yield title, position


def test_renders_without_warnings():
    assert [section[0].astext() for section in document().findall(nodes.section)]


def test_has_no_long_lines():
    assert [line for line in README.read_text().splitlines() if len(line) > 100] == []


def test_all_its_code_is_run():
    code = {key for key, each in recipes().items() if each.language}

    assert sorted(code - set(asked_for())) == []


def test_all_that_is_no_code_is_a_drawing():
    (drawing,) = (each for each in recipes().values() if not each.language)

    assert drawing.title == "What is recorded, and when it is sent"


def test_shows_pictures_that_exist_and_says_what_they_show():
    images = list(document().findall(nodes.image))

    assert images
    for image in images:
        assert (ROOT / image["uri"]).is_file()
        assert image["alt"]


def test_knows_all_settings():
    written = {key: default for key, default, _ in rows("Key")}

    defaults = {each.name.upper(): each.default for each in fields(Shop) if each.name != "alias"}
    assert written.keys() == defaults.keys()
    for key, default in written.items():
        if default == "required":
            assert defaults[key] == ""
        else:
            assert ast.literal_eval(default) == defaults[key]


def test_knows_all_commands_with_all_options():
    written = {
        usage.split()[0]: set(re.findall(r"--[a-z-]+", usage)) for usage, _ in rows("Command")
    }

    ours = [name for name, app in get_commands().items() if app == "komfortkasse_django"]
    common = BaseCommand().create_parser("", "")._option_string_actions.keys()
    assert written == {
        name: {
            option
            for option in load_command_class("komfortkasse_django", name)
            .create_parser("", name)
            ._option_string_actions.keys()
            - common
            if option.startswith("--")
        }
        for name in ours
    }


@pytest.mark.parametrize("shop", ["oscar", "salesman", "salesman_plus", "pretix"])
def test_names_the_versions_of_the_shops_that_are_tried(shop):
    required = (ROOT / "tests" / "shops" / shop / "requirements.txt").read_text()
    name, version = re.search(
        r"^([\w-]*(?:oscar|salesman|pretix)[\w-]*)==(\d+\.\d+)", required
    ).groups()

    assert f"{name} {version}" in " ".join(README.read_text().split())


@pytest.mark.parametrize(
    ("engine", "install"),
    [
        ("db", recipe("In the database: django-tasks-db", 0)),
        ("rq", recipe("Redis: django-tasks-rq", 0)),
        ("celery", recipe("RabbitMQ and Celery: django-tasks-fennel", 0)),
    ],
)
def test_installs_the_engines_that_are_tried(engine, install):
    script = (ROOT / "script" / "test-engines").read_text()
    name, backport, version = re.search(
        rf"^    {engine}\) engine=(\S+) backport=(\S+) version=(\S+) ;;$", script, re.MULTILINE
    ).groups()

    assert set(install.lines) == {f"pip install {name}", f"pip install {backport}"}
    assert f"Tried with {name} {version}" in " ".join(README.read_text().split())
