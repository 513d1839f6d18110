import html
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from django.db.models import Q
from django.test import override_settings
from django.views.debug import ExceptionReporter

from komfortkasse_django.conf import KEYS, enabled_shops, shops
from tests.shop.models import Order

KEY = "planted"


def test_defaults(settings):
    settings.KOMFORTKASSE = {"default": {"API_KEY": "key", "ORDER_MODEL": "shop.Order"}}

    shop = shops()["default"]

    assert {key: getattr(shop, name) for key, name in KEYS.items()} == {
        "API_KEY": "key",
        "ORDER_MODEL": "shop.Order",
        "ORDER_NUMBER": "number",
        "ORDER_FILTER": None,
        "ORDER_GONE": None,
        "UNKNOWN_RETRIES": (3600, 86400),
        "ENABLED": True,
        "API_URL": "https://ssl.komfortkasse.eu/api/v2",
        "DEADLINE": 10,
        "REQUEST_BUDGET": 3,
        "CONCURRENCY": 4,
        "TASK_BACKEND": "default",
        "TASK_QUEUE": "default",
        "EXTEND_ORDER_ADMIN": True,
    }


def test_follows_the_setting(settings):
    assert list(shops()) == ["default"]
    assert shops() is shops()

    settings.KOMFORTKASSE = {"a": {}, "b": {"ENABLED": False}}

    assert list(shops()) == ["a", "b"]
    assert [shop.alias for shop in enabled_shops()] == ["a"]


@pytest.mark.parametrize("setting", [None, [], "a", {5: {}}, {"a": None}, {"a": "b"}])
def test_never_fails_to_read(settings, setting):
    settings.KOMFORTKASSE = setting

    assert shops() == {}


def test_ignores_unknown_keys(settings):
    settings.KOMFORTKASSE = {"a": {"COLOUR": "red", "order_model": "shop.Order", 5: 6}}

    assert shops()["a"].order_model == ""


def test_missing(settings):
    del settings.KOMFORTKASSE

    assert shops() == {}


def test_never_shows_the_key(settings):
    settings.KOMFORTKASSE = {"default": {"API_KEY": KEY}}

    assert KEY not in repr(shops())


@pytest.mark.parametrize(
    ("key", "attribute"),
    [("ORDER_MODEL", "model"), ("ORDER_NUMBER", "read_number"), ("ORDER_FILTER", "wants")],
)
def test_a_report_of_what_leads_nowhere_shows_no_key(configure, key, attribute):
    """It shows the variables of each frame, those of the libraries that lie between included."""
    configure(**{"API_KEY": KEY, key: "nowhere.at_all"})

    with pytest.raises((ImportError, LookupError)) as caught:
        getattr(shops()["default"], attribute)

    report = ExceptionReporter(None, caught.type, caught.value, caught.tb)
    for text in (report.get_traceback_html(), report.get_traceback_text()):
        assert "nowhere" in text
        assert KEY not in html.unescape(text)


def test_reads_nothing_before_it_is_asked(settings):
    """The checks report a typo in a model or path. Reading the setting does not fail."""
    options = {"ORDER_MODEL": "shop.Nothing", "ORDER_FILTER": "no.such.filter"}
    settings.KOMFORTKASSE = {"default": {**options, "ORDER_NUMBER": "no.such.number"}}

    shop = shops()["default"]

    assert shop.installed_model is None
    with pytest.raises(ImportError):
        _ = shop.wants
    with pytest.raises(ImportError):
        _ = shop.read_number


@pytest.mark.parametrize("label", [None, 5, [], b"shop.Order", Order, "", "shop", "a.b.c", "."])
def test_an_order_model_that_cannot_be_is_none(configure, label):
    configure(ORDER_MODEL=label)

    assert shops()["default"].installed_model is None


def test_override_settings_is_undone():
    before = [asdict(shop) for shop in shops().values()]

    with override_settings(KOMFORTKASSE={"other": {}}):
        assert list(shops()) == ["other"]

    assert [asdict(shop) for shop in shops().values()] == before


def test_filters(configure):
    configure(ORDER_FILTER=None)
    assert shops()["default"].wants is None
    configure(ORDER_FILTER=reversed_number)
    assert shops()["default"].wants is reversed_number
    configure(ORDER_FILTER="tests.test_conf.reversed_number")
    assert shops()["default"].wants is reversed_number


@pytest.mark.parametrize(
    ("gone", "condition"),
    [
        (None, None),
        ({"cancelled": True}, Q(cancelled=True)),
        (Q(cancelled=True), Q(cancelled=True)),
        # No condition that all orders meet, and none that the checks refuse.
        ({}, None),
        (Q(), None),
        ("cancelled", None),
    ],
)
def test_conditions(configure, gone, condition):
    configure(ORDER_GONE=gone)
    assert shops()["default"].gone == condition
    assert isinstance(hash(shops()["default"]), int)


def test_numbers_by_a_function(configure):
    configure(ORDER_NUMBER=reversed_number)

    assert shops()["default"].number_field is None
    assert shops()["default"].read_number(Order(number="12")) == "21"


def test_is_frozen():
    with pytest.raises(AttributeError):
        shops()["default"].deadline = 5


@pytest.mark.parametrize(
    ("order_number", "column"),
    [("number", "number"), ("pk", "id"), ("event", "event_id"), ("event_id", "event_id")],
)
def test_number_fields(configure, order_number, column):
    configure(ORDER_NUMBER=order_number)

    assert shops()["default"].number_field.column == column


@pytest.mark.parametrize("order_number", ["full_number", "lines", "nothing", str, "a.b"])
def test_numbers_that_are_no_fields(configure, order_number):
    configure(ORDER_NUMBER=order_number)

    assert shops()["default"].number_field is None


def test_reads_numbers(configure):
    order = Order(number="1001")

    configure(ORDER_NUMBER="full_number")
    assert shops()["default"].read_number(order) == "EVENT-1001"
    configure(ORDER_NUMBER="tests.test_conf.reversed_number")
    assert shops()["default"].read_number(order) == "1001"[::-1]
    configure(ORDER_NUMBER="tests.test_conf.nothing")
    with pytest.raises(ImportError):
        shops()["default"].read_number(order)


def reversed_number(order):
    return order.number[::-1]


@pytest.mark.parametrize(
    ("setting", "number"),
    [
        ("None", "E001"),
        ("'text'", "E001"),
        ("{'default': 5}", "E016"),
        ("{5: {}}", "E002"),
        ("{'default': {**KOMFORTKASSE['default'], 'COLOUR': 'red'}}", "E003"),
        ("{'default': {**KOMFORTKASSE['default'], 'API_KEY': None}}", "E005"),
        ("{'default': {**KOMFORTKASSE['default'], 'API_URL': 5}}", "E006"),
        ("{'default': {**KOMFORTKASSE['default'], 'API_URL': 'http://h/'}}", "E007"),
        ("{'default': {**KOMFORTKASSE['default'], 'DEADLINE': 10**400}}", "E008"),
        ("{'default': {**KOMFORTKASSE['default'], 'ORDER_MODEL': 'shop.SwappedOrder'}}", "E010"),
        ("{'default': {**KOMFORTKASSE['default'], 'ORDER_NUMBER': 5}}", "E011"),
        ("{'default': {**KOMFORTKASSE['default'], 'ORDER_FILTER': 5}}", "E012"),
        ("{'default': {'API_KEY': 'x'}}", "E004"),
        ("{'default': {'API_KEY': 'x', 'ORDER_MODEL': 'shop.Odrer'}}", "E009"),
        ("{'default': {'API_KEY': 'x', 'ORDER_MODEL': 5, 'ENABLED': 7}}", "E009"),
        (
            "{'default': {'API_KEY': 'x', 'ORDER_MODEL': 'shop.Order', 'ORDER_NUMBER': 'a.b'}}",
            "E011",
        ),
        (
            "{'default': {'API_KEY': 'x', 'ORDER_MODEL': 'shop.Order', 'TASK_BACKEND': 'x'}}",
            "E014",
        ),
    ],
)
def test_a_misconfigured_project_starts_far_enough_to_say_so(tmp_path, setting, number):
    (tmp_path / "broken.py").write_text(
        f"from tests.settings import *\nKOMFORTKASSE = {setting}\n", encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "django", "check", "--settings", "broken"],
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parent.parent}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert f"komfortkasse_django.{number}" in done.stderr
    assert "Traceback" not in done.stderr
