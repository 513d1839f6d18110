"""The tests run all code of the manual, and compare its lists with the code."""

import ast
import json
import re
from dataclasses import fields
from io import StringIO

import pytest
from django.contrib.auth import get_permission_codename
from django.core.management import BaseCommand, call_command, get_commands, load_command_class
from django.utils import translation
from django.utils.translation import gettext, pgettext
from docutils import nodes

from komfortkasse_django import checks
from komfortkasse_django.conf import Shop
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet, ShopState
from komfortkasse_django.reports.reasons import REASONS
from komfortkasse_django.reports.status import Kind
from komfortkasse_django.schema import PaymentStatus
from tests.support.manual import DOCS, README, ROOT, document, recipe, recipes, written

GERMAN = ROOT / "README.de.rst"
STAFF = ROOT / "docs" / "staff.rst"
STAFF_IN_GERMAN = ROOT / "docs" / "staff.de.rst"
PRIVACY = ROOT / "docs" / "explanation" / "privacy.rst"
REFERENCE = ROOT / "docs" / "reference"


def rows(page, heading):
    """Return the rows of the table of a page whose first column has this heading, as text."""
    for table in document(page).findall(nodes.table):
        head, body = (next(iter(table.findall(each))) for each in (nodes.thead, nodes.tbody))
        found = [
            [" ".join(cell.astext().split()) for cell in row.findall(nodes.entry)]
            for row in body.findall(nodes.row)
        ]
        if next(head.findall(nodes.entry)).astext() == heading:
            return found
    raise LookupError(heading)


def asked_for():
    """Yield the blocks that tests ask for with ``recipe(...)``."""
    for path in (ROOT / "tests").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "recipe":
                title, position = [*map(ast.literal_eval, call.args), 0][:2]
                yield title, position


def test_all_its_code_is_run():
    code = {key for key, each in recipes().items() if each.language}

    assert sorted(code - set(asked_for())) == []


def test_all_that_is_no_code_is_a_drawing():
    (drawing,) = (each for each in recipes().values() if not each.language)

    assert drawing.title == "How a removal is recorded and sent"


def test_knows_all_settings():
    written = {key: default for key, default, _ in rows(REFERENCE / "settings.rst", "Key")}

    defaults = {each.name.upper(): each.default for each in fields(Shop) if each.name != "alias"}
    assert written.keys() == defaults.keys()
    for key, default in written.items():
        if default == "required":
            assert defaults[key] == ""
        else:
            assert ast.literal_eval(default) == defaults[key]


def test_knows_the_limits_of_all_settings():
    meanings = {key: meaning for key, _, meaning in rows(REFERENCE / "settings.rst", "Key")}

    for key, (_, what) in checks._VALUES.items():
        assert set(re.findall(r"\d+", what)) <= set(re.findall(r"\d+", meanings[key])), key


def options_of_commands():
    """Return the options of each command that are not Django's own."""
    ours = [name for name, app in get_commands().items() if app == "komfortkasse_django"]
    common = BaseCommand().create_parser("", "")._option_string_actions.keys()
    return {
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


def test_knows_all_commands_with_all_options():
    usages = [usage for usage, _ in rows(REFERENCE / "commands.rst", "Command")]

    assert {
        usage.split()[0]: set(re.findall(r"--[a-z-]+", usage)) for usage in usages
    } == options_of_commands()


def test_explains_all_options():
    explained = [option.split()[0] for option, _ in rows(REFERENCE / "commands.rst", "Option")]

    assert sorted(explained) == sorted(set().union(*options_of_commands().values()))


def test_knows_the_exit_codes_of_all_commands():
    commands = [row[0] for row in rows(REFERENCE / "commands.rst", "Exit codes of")]

    assert sorted(commands) == sorted(options_of_commands())


@pytest.mark.parametrize(
    "shop", ["oscar", "salesman", "salesman_plus", "pretix", "plans", "ledger", "tenants"]
)
def test_names_the_versions_of_the_shops_that_are_tried(shop):
    required = (ROOT / "tests" / "shops" / shop / "requirements.txt").read_text()
    name, version = re.search(
        r"^([\w-]*(?:oscar|salesman|pretix|plans|ledger|tenants)[\w-]*)==(\d+\.\d+)", required
    ).groups()

    assert f"{name} {version}" in written(*DOCS)


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
    assert f"Tried with {name} {version}" in written(*DOCS)


def calls(name):
    """Yield the calls of the function or method with this name in the package."""
    for path in (ROOT / "komfortkasse_django").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == name:
                yield call


def text_of(node):
    """Return the text of a node, with "…" for each value that is put into it."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
    return re.sub(r"%(\(\w+\))?(\.0f|[drs])", "…", text)


def test_knows_all_states():
    table = rows(REFERENCE / "answers.rst", "State")

    assert [(state, label) for state, label, _ in table] == RemovedOrder.State.choices


def test_tells_staff_of_all_states():
    assert [state for state, _ in rows(STAFF, "State")] == RemovedOrder.State.labels


@pytest.mark.parametrize("model", [RemovedOrder, ShopState])
def test_knows_all_fields_of_the_models(model):
    table = rows(REFERENCE / "models.rst", f"Field of {model.__name__}")

    assert [field for field, _ in table] == [field.name for field in model._meta.fields]


def test_knows_all_ways_of_asking():
    table = rows(REFERENCE / "models.rst", "Requested via")

    assert [(value, label) for value, label, _ in table] == RemovedOrder.RequestedVia.choices


def test_knows_all_that_querysets_can_say():
    methods = {
        name
        for name, value in vars(RemovedOrderQuerySet).items()
        if callable(value) and not name.startswith("_")
    }

    # "record" is not for others: it delivers nothing.
    written = {call.partition("(")[0] for call, _ in rows(REFERENCE / "models.rst", "Method")}
    assert written == methods - {"record"}


def test_knows_all_permissions():
    page = written(REFERENCE / "permissions.rst")

    for name in ("view", "delete"):
        assert (
            f"``komfortkasse_django.{get_permission_codename(name, RemovedOrder._meta)}``" in page
        )
    for name, text in RemovedOrder._meta.permissions:
        assert f"``komfortkasse_django.{name}``" in page
        assert str(text) in page


def test_knows_all_log_messages():
    levels = {"warning": "WARNING", "error": "ERROR", "exception": "ERROR"}
    logged = {
        (text_of(call.args[0]), level)
        for name, level in levels.items()
        for call in calls(f"logger.{name}")
    }
    # Those with a level that depends on the reason.
    varying = {text_of(call.args[1]): "ERROR or WARNING" for call in calls("logger.log")}
    levels = {ast.unparse(each) for call in calls("LeaveAlone") for each in call.args[1:]}
    assert levels == {"logging.DEBUG"}, "by default it is an error"
    varying["Shop … is left alone in this push: …"] = "ERROR"
    logged |= set(varying.items())
    # With --watch it logs the messages that it otherwise prints.
    still_due = {text_of(call.args[1]) for call in calls("ngettext")}
    still_due = {text for text in still_due if text.endswith("still due: …")}

    assert {(message, level) for message, level, _ in rows(REFERENCE / "logs.rst", "Message")} == (
        logged - {("…", "WARNING")} | {(text, "WARNING") for text in still_due}
    )


def test_knows_all_problems_in_their_order():
    assert [problem for problem, _ in rows(REFERENCE / "commands.rst", "Problem")] == [
        str(kind) for kind in Kind
    ]


@pytest.mark.django_db
def test_knows_all_fields_of_status():
    out = StringIO()
    call_command("komfortkasse_status", "--json", stdout=out)

    assert [field for field, _ in rows(REFERENCE / "commands.rst", "Field")] == list(
        json.loads(out.getvalue())
    )


def test_knows_all_codes_of_errors():
    assert {code for code, _ in rows(REFERENCE / "logs.rst", "Code")} == REASONS.keys()


def test_knows_all_reasons():
    written = tuple(reason.rstrip("… ") for reason, _ in rows(REFERENCE / "logs.rst", "Reason"))
    halts = {text_of(call.args[0]) for call in calls("LeaveAlone")}

    # "…" is the error of a call.
    reasons = halts - {"…"}
    assert {reason for reason in reasons if not reason.startswith(written)} == set()
    assert [each for each in written if not any(text.startswith(each) for text in reasons)] == []


def test_knows_all_checks():
    errors = [*calls("_error"), *calls("_check_function")]
    ids = {f"E{int(text_of(call.args[0])):03}" for call in errors if is_given(call)}
    ids |= {f"W{int(text_of(call.args[0])):03}" for call in calls("_warning") if is_given(call)}
    for call in calls("CheckWarning"):
        for given in (text_of(each.value) for each in call.keywords if each.arg == "id"):
            if given.startswith("komfortkasse_django.W0"):
                ids.add(given.removeprefix("komfortkasse_django."))

    assert [number for number, _ in rows(REFERENCE / "checks.rst", "Check")] == sorted(ids)


def is_given(call):
    """Whether the first argument is a constant."""
    return isinstance(call.args[0], ast.Constant)


def test_names_all_that_is_stored():
    (stored,) = document(PRIVACY).findall(nodes.block_quote)
    text = " ".join(stored.astext().split())

    # One after the other, because some names are parts of others.
    for field in RemovedOrder._meta.fields[1:]:  # without the primary key
        _, found, text = text.partition(str(field.verbose_name).removesuffix(" at"))
        assert found, field


def test_says_of_costs_what_was_measured():
    measured = written(ROOT / "benchmarks" / "README.rst")
    date = re.search(r"Measured on (\S+)", measured)[0]
    costs = ROOT / "docs" / "explanation" / "costs.rst"

    # After a new measurement, copy the date and these figures from benchmarks/README.rst.
    assert date in written(costs)
    table = rows(costs, "What")
    assert len(table) == 10
    assert [row for row in table if not all(figure in measured for figure in row[1:])] == []


@pytest.mark.parametrize("path", [README, GERMAN], ids=lambda path: path.name)
def test_names_the_versions_that_are_declared(path):
    declared = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    python = re.search(r"python_requires = >=(.+)", declared)[1]
    *older, newest = re.findall(r"Django :: (\d+\.\d+)", declared)
    text = " ".join(path.read_text(encoding="utf-8").split())

    assert re.search(rf"Django {', '.join(older)} (or|oder) {newest}\b", text)
    assert re.search(rf"Python {python} (or later|oder neuer)\b", text)


def test_names_the_oldest_requests():
    declared = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    oldest = re.search(r"requests>=(\d+\.\d+)", declared)[1]

    assert f"`requests`_ {oldest} or later" in README.read_text(encoding="utf-8")


def test_names_extras_that_exist():
    setup_cfg = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    named = re.findall(r"komfortkasse_django\[(\w+)\]", written(README, *DOCS))

    assert named
    for extra in named:
        assert re.search(rf"(?m)^{extra} = ", setup_cfg)


class TestGerman:
    """The German pages use the words of the admin."""

    def test_explains_all_states(self):
        terms = [term.astext() for term in document(STAFF_IN_GERMAN).findall(nodes.term)]

        with translation.override("de"):
            assert terms == RemovedOrder.State.labels

    @pytest.mark.parametrize(
        ("page", "choices"),
        [(STAFF_IN_GERMAN, PaymentStatus), (GERMAN, RemovedOrder.RequestedVia)],
    )
    def test_names_all_choices(self, page, choices):
        text = " ".join(document(page).astext().split())

        with translation.override("de"):
            assert [label for label in map(str, choices.labels) if label not in text] == []

    @pytest.mark.parametrize(
        ("context", "word"),
        [
            (None, "Remove from Komfortkasse"),
            (None, "Remove selected %(verbose_name_plural)s from Komfortkasse"),
            (None, "Can remove orders from Komfortkasse"),
            ("komfortkasse", "Try again"),
            ("komfortkasse", "Settled"),
            ("komfortkasse", "Not settled"),
            ("komfortkasse", "Settle the selected orders"),
        ],
    )
    def test_quotes(self, context, word):
        text = " ".join(document(STAFF_IN_GERMAN).astext().split())

        with translation.override("de"):
            word = pgettext(context, word) if context else gettext(word)
        assert f"„{word % {'verbose_name_plural': 'Bestellungen'}}“" in text

    def test_names_all_that_is_stored(self):
        text = document(GERMAN).astext()
        stored = text.partition("Gespeichert werden")[2].partition("Namen, Anschriften")[0]
        with translation.override("de"):
            names = [str(field.verbose_name) for field in RemovedOrder._meta.fields]

        for name in names[1:]:  # without the primary key
            assert name.removesuffix(" am").removesuffix(" durch").lower() in stored.lower()
