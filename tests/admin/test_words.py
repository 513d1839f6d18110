"""Staff read words of the shop, not of the people who look after the website."""

import re

import pytest
from django.urls import reverse

from komfortkasse_django.models import RemovedOrder, ShopState
from komfortkasse_django.reports.reasons import REASONS
from tests.support.mirror_pages import LIST, ahead, text, url

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

TECHNICAL = re.compile(
    r"[A-Z]+_[A-Z]+|\bDEADLINE\b|\bENABLED\b|komfortkasse_\w+|HTTP|\bDISAPPEARED\b"
)


def read(page) -> str:
    """What staff read on a page: without markup, and without the lines that are not for them."""
    html = re.sub('<p class="komfortkasse-technical".*?</p>', "", text(page))
    html = re.sub("<(script|style|head).*?</\\1>", "", html)
    return re.sub("<[^>]*>", " ", html)


def languages():
    return [{"accept-language": language} for language in ("en", "de")]


@pytest.mark.parametrize("headers", languages())
@pytest.mark.parametrize("code", ["", *REASONS])
def test_the_page_of_a_removal(staff, make, headers, code):
    for state in RemovedOrder.State:
        row = make(
            state=state,
            payment_status="DISAPPEARED",
            error_code=code,
            last_error="Komfortkasse is temporarily unavailable (HTTP 503)" if code else "",
            created_at=ahead(hours=-3),
            next_attempt_at=ahead(hours=-2) if state == "pending" else None,
        )

        page = staff.get(url("change", row), headers=headers)

        assert not TECHNICAL.search(read(page)), state
        is_technical = bool(code) or state == "pending"
        assert ('class="komfortkasse-technical"' in text(page)) == is_technical


@pytest.mark.parametrize("headers", languages())
@pytest.mark.parametrize("code", ["", *REASONS])
def test_the_list(staff, make, configure, headers, code):
    configure(aliases={"default": {}, "b": {}, "off": {"ENABLED": False}})
    if code:
        ShopState.objects.create(
            shop="default",
            paused_until=ahead(minutes=5),
            failures=3,
            failing_since=ahead(hours=-3),
            error_code=code,
            last_error="HTTP 503: Service unavailable",
        )
    for shop in ("default", "b", "off", "gone"):
        make(
            shop=shop,
            state="pending",
            created_at=ahead(hours=-3),
            next_attempt_at=ahead(hours=-2),
            error_code=code,
        )
    for _ in range(10):
        make(shop="b", state="unknown")
    make(payment_status="DISAPPEARED")

    page = staff.get(reverse(LIST), headers=headers)

    assert not TECHNICAL.search(read(page))
    assert 'class="komfortkasse-technical"' in text(page)


@pytest.mark.parametrize("name", ["settle", "export", "unsettle", "try_again"])
def test_the_actions_are_german_in_german(staff, name):
    page = text(staff.get(reverse(LIST), headers={"accept-language": "de"}))

    [label] = re.findall(f'<option value="{name}">(.*?)</option>', page)
    assert "usgewählte" in label
