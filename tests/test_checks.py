"""Each misconfiguration is explained in a sentence that says what to write instead."""

import ast
import inspect
import re
import socket
from collections import defaultdict
from importlib.util import find_spec
from types import SimpleNamespace

import django
import pytest
from django.core.checks import registry
from django.db import connections, models
from django.test import override_settings
from django.test.utils import isolate_apps
from hypothesis import given
from hypothesis import strategies as st

from komfortkasse_django import checks
from komfortkasse_django.checks import check_settings
from komfortkasse_django.client import Client
from tests.shop.models import Order
from tests.support.examples import examples
from tests.support.routers import MirrorElsewhere, Together

KEY = "planted-key"
GOOD = {"API_KEY": KEY, "ORDER_MODEL": "shop.Order"}


needs_tasks = pytest.mark.skipif(
    not (find_spec("django.tasks") or find_spec("django_tasks")),
    reason="Django 5.2 has Tasks only where django-tasks is installed",
)


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    """No network; the database is out of reach without pytest-django's mark."""

    def refuse(*args, **kwargs):
        raise AssertionError("a check used the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def check(settings):
    """The messages about a setting, as (id, text) with the hint in the text."""

    def check(setting):
        settings.KOMFORTKASSE = setting
        # The orders of these tests may share their numbers, as the tests of W004 tell.
        messages = [each for each in check_settings() if not each.id.endswith("W004")]
        for message in messages:
            assert message.hint
            assert KEY not in message.msg + message.hint
        return [
            (message.id.removeprefix("komfortkasse_django."), f"{message.msg} {message.hint}")
            for message in messages
        ]

    return check


@pytest.fixture
def check_options(check):
    return lambda **options: check({"default": {**GOOD, **options}})


def a_function(order):
    return True


NOT_A_FUNCTION = "text"


def test_is_registered():
    assert check_settings in registry.registry.registered_checks


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ORDER_NUMBER": "full_number"},
        {"ORDER_NUMBER": "pk"},
        {"ORDER_NUMBER": a_function},
        {"ORDER_NUMBER": "tests.test_checks.a_function", "ORDER_FILTER": a_function},
        {"ORDER_FILTER": "tests.test_checks.a_function"},
        {"ORDER_GONE": None},
        {"ORDER_GONE": {"cancelled": True, "event__name__startswith": "Fair"}},
        {"ORDER_GONE": models.Q(cancelled=True) | ~models.Q(payment="card")},
        {"ORDER_GONE": models.Q(pk__lt=models.F("event"))},
        {"API_URL": "http://127.0.0.1:8000/api/v2"},
        {"API_URL": "http://localhost/api"},
        {"API_URL": "http://[::1]:8000/"},
        {"API_URL": "http://komfortkasse.localhost:8000"},
        {"API_URL": "https://komfortkasse.test/v2/"},
        {"DEADLINE": 0.5, "REQUEST_BUDGET": 0, "CONCURRENCY": 100},
        {"ENABLED": False, "API_KEY": ""},
        {"ENABLED": False, "API_KEY": None},
        {"DEADLINE": 86_400, "REQUEST_BUDGET": 86_400},
        {"ORDER_NUMBER": "event"},
        {"ORDER_MODEL": "shop.ArchivedOrder"},
        {"ORDER_MODEL": "shop.SwappedInOrder"},
    ],
)
def test_right_settings(check_options, options):
    assert check_options(**options) == []


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        (None, "missing"),
        ({}, "an empty dictionary"),
        ([], "a list"),
        ("default", "a str"),
        (5, "a int"),
        (KEY, "a str"),
    ],
)
def test_e001_no_dictionary(check, setting, found):
    [(number, text)] = check(setting)

    assert number == "E001"
    assert f"KOMFORTKASSE is {found}; it has to name a shop" in text
    assert 'Write KOMFORTKASSE = {"default"' in text


def test_e001_missing(settings):
    del settings.KOMFORTKASSE

    [message] = check_settings()

    assert message.id == "komfortkasse_django.E001"
    assert "missing" in message.msg


@pytest.mark.parametrize("setting", [{5: GOOD}, {"": GOOD}, {"a" * 256: GOOD}, {None: GOOD}])
def test_e002_alias(check, setting):
    assert [number for number, _ in check(setting)] == ["E002"]


def test_the_longest_alias(check):
    assert check({"a" * 255: GOOD}) == []


@pytest.mark.parametrize("options", [None, KEY, [], 5])
def test_e016_no_options(check, options):
    [(number, text)] = check({"default": options})

    assert number == "E016"
    assert f"KOMFORTKASSE['default'] is a {type(options).__name__}" in text


@pytest.mark.parametrize("alias", ["Läden", "shop ", " shop", "a/b", "a\n", "a" * 256])
def test_e002_alias_that_databases_confuse(check, alias):
    assert [number for number, _ in check({alias: GOOD})] == ["E002"]


def test_e017_aliases_that_databases_confuse(check):
    [(number, text)] = check({"shop": GOOD, "Shop": GOOD, "other": GOOD})

    assert number == "E017"
    assert "'shop' and 'Shop'" in text


def test_e016_without_an_alias(check):
    assert {number for number, _ in check(GOOD)} == {"E016"}


@pytest.mark.parametrize("key", ["API_KEYS", "order_model", 5])
def test_e003_unknown_key(check, key):
    [(number, text)] = check({"default": {**GOOD, key: "x"}})

    assert number == "E003"
    assert "Write one of API_KEY, ORDER_MODEL, " in text


@pytest.mark.parametrize("key", ["API_KEY", "ORDER_MODEL"])
def test_e004_missing_key(check, key):
    [(number, text)] = check({"shop": {name: GOOD[name] for name in GOOD if name != key}})

    assert number == "E004"
    assert f"KOMFORTKASSE['shop'] has no '{key}'" in text


def test_e004_not_of_a_key_that_nothing_needs(check):
    assert check({"shop": {"ORDER_MODEL": "shop.Order", "ENABLED": False}}) == []


@pytest.mark.parametrize(
    "key",
    ["", None, 5, b"planted-key", "planted-key\n", "planted-key planted", "planted-kéy", "a\x00b"],
)
def test_e005_api_key(check_options, key):
    [(number, text)] = check_options(API_KEY=key)

    assert number == "E005"
    assert "planted" not in text


@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        5,
        "ssl.komfortkasse.eu/api/v2",
        "ftp://ssl.komfortkasse.eu",
        "https://",
        "https://host:port/",
        "https://host:0x/",
        "https://[::1/",
        "https://host/api?key=planted-key",
        "https://host/api#part",
        "https://user:planted-key@host/api",
        "https://host/a b\n",
        "https://höst/",
        "https://host/api?",
        "https://host/api#",
        "https://@host/api",
        " https://host/api",
        "https://host/a b",
        "https://host:0/",
        "https://host\\api",
        b"https://host/api",
    ],
)
def test_e006_api_url(check_options, url):
    [(number, text)] = check_options(API_URL=url)

    assert number == "E006"
    assert "https://ssl.komfortkasse.eu/api/v2" in text


@examples(100)
@given(st.text(max_size=20).map("https://host".__add__) | st.text())
def test_e006_what_no_check_refuses_the_client_takes(url):
    with override_settings(KOMFORTKASSE={"default": {**GOOD, "API_URL": url}}):
        refused = any(each.id.endswith(("E006", "E007", "E018")) for each in check_settings())

    if not refused:
        Client(api_key=KEY, api_url=url)


@examples(100)
@given(st.text())
def test_e005_what_no_check_refuses_the_client_takes(key):
    with override_settings(KOMFORTKASSE={"default": {**GOOD, "API_KEY": key}}):
        refused = any(each.id.endswith("E005") for each in check_settings())

    if not refused:
        Client(api_key=key)


@pytest.mark.parametrize(
    "url", ["http://ssl.komfortkasse.eu/api/v2", "http://10.0.0.1/", "http://localhost.test/"]
)
def test_e007_plain_http(check_options, url):
    assert [number for number, _ in check_options(API_URL=url)] == ["E007"]


@pytest.mark.parametrize(
    "url", ["https://ssl.komfortkasse.eu", "https://host/", "https://h:8443//"]
)
def test_e018_no_path(check_options, url):
    [(number, text)] = check_options(API_URL=url)

    assert number == "E018"
    assert text.endswith('Write it as "https://ssl.komfortkasse.eu/api/v2".')


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ENABLED", "yes"),
        ("EXTEND_ORDER_ADMIN", 1),
        ("DEADLINE", 0),
        ("DEADLINE", "10"),
        ("DEADLINE", float("inf")),
        ("DEADLINE", True),
        ("DEADLINE", 86_401),
        ("DEADLINE", -1),
        ("DEADLINE", float("nan")),
        ("REQUEST_BUDGET", -1),
        ("REQUEST_BUDGET", 86_401),
        ("REQUEST_BUDGET", float("nan")),
        ("REQUEST_BUDGET", None),
        ("CONCURRENCY", 0),
        ("CONCURRENCY", 101),
        ("CONCURRENCY", 1.5),
        ("CONCURRENCY", True),
        ("TASK_QUEUE", 5),
        ("UNKNOWN_RETRIES", 3600),
        ("UNKNOWN_RETRIES", ["3600"]),
        ("UNKNOWN_RETRIES", (0,)),
        ("UNKNOWN_RETRIES", (86_401,)),
    ],
)
def test_e008_values(check_options, key, value):
    (number, text), *_ = check_options(**{key: value})

    assert number == "E008"
    assert f"KOMFORTKASSE['default']['{key}'] is {value!r}" in text


@pytest.mark.parametrize("key", ["DEADLINE", "REQUEST_BUDGET"])
def test_e008_seconds_that_no_float_holds(check_options, key):
    assert [number for number, _ in check_options(**{key: 10**400})] == ["E008"]


@pytest.mark.parametrize("label", ["shop.Nothing", "nothing.Order", "Order", "", None, 5, "a.b.c"])
def test_e009_order_model(check_options, label):
    [(number, text)] = check_options(ORDER_MODEL=label)

    assert number == "E009"
    assert repr(label) in text


def test_e010_swapped_out(check_options):
    [(number, text)] = check_options(ORDER_MODEL="shop.SwappedOrder")

    assert number == "E010"
    assert "'shop.SwappedInOrder'" in text
    assert "SHOP_SWAPPED_ORDER_MODEL" in text


@pytest.mark.parametrize(
    ("order_number", "hint"),
    [
        ("nummer", "neither a field nor a property"),
        ("delete", "neither a field nor a property"),
        ("lines", "neither a field nor a property"),
        ("objects", "neither a field nor a property"),
        ("a.b", "shop.komfortkasse.number_of"),
        ("nothing.at.all", "No module named"),
        ("tests.test_checks.NOT_A_FUNCTION", "cannot be called"),
        ("tests.test_checks.nothing", "cannot be imported"),
        (None, "None"),
        (5, "5"),
        ("", "neither"),
    ],
)
def test_e011_order_number(check_options, order_number, hint):
    [(number, text)] = check_options(ORDER_NUMBER=order_number)

    assert number == "E011"
    assert hint in text


def test_e011_not_of_a_property_that_fails(check_options, monkeypatch):
    class Descriptor:
        def __get__(self, instance, owner):
            raise KeyError("of instances only")

    monkeypatch.setattr(Order, "odd", Descriptor(), raising=False)

    assert check_options(ORDER_NUMBER="odd") == []


def check_model(model, monkeypatch, function, **options):
    """What a check says of a shop with this model."""
    monkeypatch.setattr(checks.Shop, "installed_model", model)
    monkeypatch.setattr(checks.Shop, "model", model)
    return [*function(checks.Shop(alias="default", **options))]


@isolate_apps("tests.shop")
def test_e019_composite_key(monkeypatch):
    class CompositeOrder(models.Model):
        pk = models.CompositePrimaryKey("year", "number")
        year = models.IntegerField()
        number = models.IntegerField()

        class Meta:
            app_label = "shop"

    def check(order_number):
        return check_model(
            CompositeOrder, monkeypatch, checks.check_order_number, order_number=order_number
        )

    [message] = check("pk")
    assert message.id == "komfortkasse_django.E019"
    assert "shop.CompositeOrder" in message.msg
    assert "function" in message.hint
    assert check("number") == []


@isolate_apps("tests.shop")
def test_w004_numbers_that_several_orders_may_have(monkeypatch):
    class Invoice(models.Model):
        entity = models.IntegerField()
        number = models.IntegerField()
        draft = models.CharField(max_length=10)
        unique = models.CharField(max_length=10, unique=True)
        alone = models.CharField(max_length=10)
        together = models.CharField(max_length=10)

        class Meta:
            app_label = "shop"
            unique_together = (("together",), ("entity", "together"))
            constraints = (
                models.UniqueConstraint(fields=["entity", "number"], name="both"),
                models.UniqueConstraint(fields=["alone"], name="alone"),
                models.UniqueConstraint(
                    fields=["draft"], condition=models.Q(entity=1), name="draft"
                ),
            )

    class Child(Invoice):
        class Meta:
            app_label = "shop"

    def check(model, **options):
        return check_model(model, monkeypatch, checks.check_unique_number, **options)

    for model in (Invoice, Child):
        for name in ("number", "draft", "entity"):
            [message] = check(model, order_number=name)
            assert message.id == "komfortkasse_django.W004"
            assert f"is {name!r}, but several orders of shop.Invoice" in message.msg
            assert "ORDER_FILTER" in message.hint
            assert "unique=True" in message.hint
            assert check(model, order_number=name, order_filter=a_function) == []
        for name in ("unique", "alone", "together", "pk", "id", a_function, "nothing"):
            assert check(model, order_number=name) == []
    assert check(None) == []


def test_w004_is_among_the_others(settings):
    settings.KOMFORTKASSE = {"default": GOOD}

    assert [each.id for each in check_settings()] == ["komfortkasse_django.W004"]


@pytest.mark.parametrize(
    "order_filter", ["prepaid", "nothing.at.all", "tests.test_checks.NOT_A_FUNCTION", 5, ""]
)
def test_e012_order_filter(check_options, order_filter):
    assert [number for number, _ in check_options(ORDER_FILTER=order_filter)] == ["E012"]


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        ("cancelled", "is 'cancelled'"),
        (True, "is True"),
        (["cancelled"], "is ['cancelled']"),
        ({1: True}, "does not fit shop.Order: AttributeError"),
        (a_function, "is <function"),
        ({}, "is {}, which is not a condition"),
        (models.Q(), "which is not a condition"),
        (
            {"canceled": True},
            "does not fit shop.Order: FieldError: Cannot resolve keyword 'canceled'",
        ),
        ({"cancelled__like": True}, "FieldError: Unsupported lookup 'like'"),
        ({"event_id": "Fair"}, "ValueError: Field 'id' expected a number"),
        (models.Q(cancelled=True) | models.Q(canceled=True), "FieldError"),
    ],
)
def test_e025_no_condition(check_options, gone, reason):
    [(number, text)] = check_options(ORDER_GONE=gone)

    assert number == "E025"
    assert "KOMFORTKASSE['default']['ORDER_GONE']" in text
    assert reason in text
    assert '{"status": "cancelled"}' in text


def test_e025_is_not_told_without_a_model(check_options):
    assert [number for number, _ in check_options(ORDER_MODEL="no.Order", ORDER_GONE={"a": 1})] == [
        "E009"
    ]


@isolate_apps("tests.shop")
def test_w005_values_that_are_not_among_the_choices(monkeypatch):
    class Status(models.TextChoices):
        NEW = "new"
        CANCELLED = "cancelled"

    class Customer(models.Model):
        kind = models.IntegerField(choices={1: "private", 2: "company"})

        class Meta:
            app_label = "shop"

    class Invoice(models.Model):
        customer = models.ForeignKey(Customer, models.CASCADE)
        status = models.CharField(max_length=10, choices=Status, blank=True, null=True)
        grouped = models.CharField(choices={"Open": {"a": "A"}, "Closed": {"b": "B"}})
        word = models.CharField()

        class Meta:
            app_label = "shop"

    def check(gone):
        function = checks.check_order_gone
        return [each.msg for each in check_model(Invoice, monkeypatch, function, order_gone=gone)]

    odd = "which is not among the choices of shop.Invoice"
    at = "KOMFORTKASSE['default']['ORDER_GONE'] asks for"
    q = models.Q
    assert check({"status": "canceled"}) == [f"{at} 'canceled', {odd}.status."]
    assert check({"status__exact": "Cancelled"}) == [f"{at} 'Cancelled', {odd}.status."]
    assert check({"status__in": ["new", "x", "y"]}) == [
        f"{at} 'x', {odd}.status.",
        f"{at} 'y', {odd}.status.",
    ]
    assert check({"grouped": "Closed"}) == [f"{at} 'Closed', {odd}.grouped."]
    assert check(q(word="x") & (q(status="new") | ~q(status="old"))) == [
        f"{at} 'old', {odd}.status."
    ]
    [message] = check({"customer__kind": 3})
    assert "asks for 3, which is not among the choices of shop.Customer.kind" in message
    for right in (
        {"status": Status.CANCELLED},
        {"status": "new"},
        {"status": ""},
        {"status": None},
        {"status__in": (Status.NEW, "cancelled")},
        {"status__in": Customer.objects.values("pk")},
        {"status__startswith": "c"},
        {"status__iexact": "CANCELLED"},
        {"status": models.F("word")},
        {"grouped__in": ["a", "b"]},
        {"word": "x"},
        {"customer__kind": "1"},
        {"customer__kind__gt": 7},
        {"customer": 5},
        q(models.Exists(Customer.objects.filter(kind=7))),
    ):
        assert check(right) == []


def test_e013_database_cascade(check_options, monkeypatch):
    # As if event were declared so; before Django 6.1 there is none.
    monkeypatch.setattr(models, "DB_CASCADE", models.CASCADE, raising=False)

    messages = check_options()

    assert [number for number, _ in messages] == ["E013", "E013"]
    assert "shop.Order.event has on_delete=DB_CASCADE" in messages[0][1]
    assert "Write on_delete=CASCADE" in messages[0][1]


@pytest.mark.skipif(django.VERSION < (6, 1), reason="DB_CASCADE is new in Django 6.1")
@isolate_apps("tests.shop")
def test_e013_as_django_has_it(monkeypatch):
    class Order(models.Model):
        event = models.ForeignKey("shop.Event", models.DB_CASCADE)
        customer = models.ForeignKey("shop.Customer", models.DB_SET_NULL, null=True)

        class Meta:
            app_label = "shop"

    monkeypatch.setattr(checks.Shop, "installed_model", Order)

    [message] = checks.check_database_cascade(checks.Shop(alias="default"))

    assert message.id == "komfortkasse_django.E013"
    assert "shop.Order.event has on_delete=DB_CASCADE" in message.msg


def test_e013_needs_a_model(check_options, monkeypatch):
    monkeypatch.setattr(models, "DB_CASCADE", models.CASCADE, raising=False)

    assert [number for number, _ in check_options(ORDER_MODEL="x")] == ["E009"]


@needs_tasks
def test_e014_task_backend(check_options, settings):
    settings.TASKS = {"default": {"BACKEND": "x"}, "slow": {"BACKEND": "x"}}

    [(number, text)] = check_options(TASK_BACKEND="fast")

    assert number == "E014"
    assert "'default', 'slow'" in text


@needs_tasks
@pytest.mark.parametrize("backends", [None, [], "x", {}, {"default": "x"}, {5: {}}])
def test_e014_tasks_that_cannot_be(check_options, settings, backends):
    settings.TASKS = backends

    [(number, text)] = check_options()

    assert number == "E014"
    assert "TASKS" in text
    assert "Write one of ," not in text


def test_e014_an_alias_that_cannot_be(check_options, settings):
    settings.TASKS = {"default": {"BACKEND": "x"}}

    assert [number for number, _ in check_options(TASK_BACKEND=[])] == ["E008", "E014"]


def test_e014_without_a_framework(check_options, monkeypatch):
    monkeypatch.setattr(checks, "find_spec", lambda name: None)

    assert check_options() == []
    [(number, text)] = check_options(TASK_BACKEND="slow")
    assert number == "E014"
    assert "django-tasks" in text


@needs_tasks
@pytest.mark.parametrize(
    ("backend", "numbers"),
    [
        ({"BACKEND": "x"}, ["E015"]),
        ({"BACKEND": "x", "QUEUES": ["a", "b"]}, ["E015"]),
        ({"BACKEND": "x", "QUEUES": ["shop"]}, []),
        ({"BACKEND": "x", "QUEUES": []}, []),
        ({"BACKEND": "x", "QUEUES": "shop"}, ["E015"]),
        ({"BACKEND": "x", "QUEUES": None}, ["E015"]),
        # It refuses queues that it does not have, as the real ones do.
        ({"BACKEND": "django.tasks.backends.dummy.DummyBackend"}, ["E015"]),
        # The task is still defined for it.
        ({"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}, ["E015"]),
    ],
)
def test_e015_task_queue(check_options, settings, backend, numbers):
    settings.TASKS = {"default": backend}

    assert [number for number, _ in check_options(TASK_QUEUE="shop")] == numbers


@needs_tasks
@pytest.mark.parametrize(
    ("queues", "hint"),
    [(["a", "b"], "a list of names: ['a', 'b']."), ("shop", "a list of names: 'shop'.")],
)
def test_e015_says_what_to_write(check_options, settings, queues, hint):
    settings.TASKS = {"default": {"BACKEND": "x", "QUEUES": queues}}

    [(_, text)] = check_options(TASK_QUEUE="shop")

    assert text.endswith(hint)


def test_w001_router(check_options, settings):
    settings.DATABASE_ROUTERS = [MirrorElsewhere()]

    [(number, text)] = check_options()

    assert number == "W001"
    assert "on 'default' but the mirror on 'other'" in text
    settings.DATABASE_ROUTERS = [Together()]
    assert check_options() == []


class Failing:
    """A router that needs what a check cannot give, such as the tenant of a request."""

    def db_for_write(self, model, **hints):
        return {}["tenant"]


class Nowhere:
    def db_for_write(self, model, **hints):
        return "nowhere"


@pytest.mark.parametrize(
    ("router", "reason"), [(Failing, "KeyError: 'tenant'"), (Nowhere, "ConnectionDoesNotExist: ")]
)
def test_e020_router(check_options, settings, router, reason):
    settings.DATABASE_ROUTERS = [router()]

    [(number, text)] = check_options()

    assert number == "E020"
    assert f"shop.Order and komfortkasse_django are stored: {reason}" in text
    assert "db_for_write()" in text


def test_e021_database(check_options, settings, monkeypatch):
    monkeypatch.setattr(type(connections["other"]), "vendor", "oracle")

    [(number, text)] = check_options()

    assert number == "E021"
    assert "DATABASES['default'] is of the kind 'oracle'" in text
    assert "SQLite, PostgreSQL, MariaDB or MySQL" in text


def test_e021_only_of_the_databases_that_are_used(check_options, settings, monkeypatch):
    monkeypatch.setattr(connections["other"], "vendor", "oracle")
    assert check_options() == []

    settings.DATABASE_ROUTERS = [Together()]
    [(number, text)] = check_options()

    assert number == "E021"
    assert "DATABASES['other']" in text


@pytest.fixture
def urllib3_future(monkeypatch):
    """Install urllib3-future, with this version instead of urllib3."""

    def install(version):
        monkeypatch.setattr(checks, "find_spec", lambda name: name or None)
        module = SimpleNamespace(__version__=version)
        monkeypatch.setattr(checks, "import_module", {"urllib3": module}.__getitem__)

    return install


@pytest.mark.parametrize("version", ["2.25.904", "2.1.999"])
def test_w003_urllib3_future(check_options, urllib3_future, version):
    urllib3_future(version)

    [(number, text)] = check_options()

    assert number == "W003"
    assert f"urllib3-future {version}" in text
    assert "DEADLINE" in text
    assert "niquests" in text


@pytest.mark.parametrize("version", ["2.8.0", "1.26.20", "2.900.1", "2.9.9"])
def test_w003_not_beside_urllib3(check_options, urllib3_future, version):
    urllib3_future(version)

    assert check_options() == []


def test_tells_everything_at_once(check):
    messages = check(
        {"a": {**GOOD, "ORDER_MODEL": "x"}, "b": {**GOOD, "DEADLINE": 0}, "c": GOOD, "d": None}
    )

    assert [number for number, _ in messages] == ["E009", "E008", "E016"]


def test_an_id_means_one_thing():
    """Each id is given by one function; those of dotted paths are handed on to another."""
    givers = defaultdict(set)
    for function in ast.parse(inspect.getsource(checks)).body:
        for node in ast.walk(function):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", "") in {"_error", "_check_function"}
                and isinstance(node.args[0], ast.Constant)
            ):
                givers[node.args[0].value].add(function.name)

    assert sorted(givers) == [*range(1, 22), 25]
    assert {number: names for number, names in givers.items() if len(names) > 1} == {}


def test_every_id_is_tested():
    """By a test that is named after it."""
    ids = {name[5:9].upper() for name in globals() if re.match("test_[ew]0", name)}

    assert ids == {f"E{number:03}" for number in [*range(1, 22), 25]} | {
        "W001",
        "W003",
        "W004",
        "W005",
    }
