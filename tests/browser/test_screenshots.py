"""The pictures of the manual. Those in German end in ``-german``."""

import pytest
from playwright.sync_api import expect

from komfortkasse_django.models import RemovedOrder
from tests.browser.people import hire, place, remember

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize(("locale", "suffix"), [("en", ""), ("de", "-german")]),
]

MIRROR = "/admin/komfortkasse_django/removedorder/"
ORDERS = "/admin/shop/order/"
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def show(visit):
    """Open a page without the sidebar, which would leave little room for it."""

    def show(path: str, **options: object):
        page = visit(hire(), path, **options)
        button = page.locator("#toggle-nav-sidebar")
        if button.is_visible():  # not on a phone
            button.click()
        return page

    return show


@pytest.mark.parametrize(("device", "viewport"), [("", DESKTOP), ("-phone", PHONE)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_list(show, take, locale, suffix, device, viewport, scheme):
    remember()
    page = show(MIRROR, locale=locale, viewport=viewport, color_scheme=scheme)

    take(page, f"mirror{device}{'-dark' * (scheme == 'dark')}{suffix}")


def test_a_removal(show, take, locale, suffix):
    remember()
    failed = RemovedOrder.objects.failed().get()
    page = show(f"{MIRROR}{failed.pk}/change/", locale=locale)

    take(page, f"removal{suffix}")


def test_an_order_and_its_confirmation(show, take, locale, suffix):
    RemovedOrder.objects.create(
        shop="default", order_number="1018", state="unknown", requested_via="delete"
    )
    place("1016")
    place("1017", method="paypal")
    order = place("1018")
    page = show(f"{ORDERS}{order.pk}/change/", locale=locale)

    take(page, f"order{suffix}")

    page.goto(ORDERS)
    page.locator("#action-toggle").check()
    page.locator("select[name=action]").first.select_option("remove_from_komfortkasse")
    page.locator("button[name=index]").first.click()
    expect(page.locator(".komfortkasse-confirmation")).to_be_visible()

    take(page, f"confirmation{suffix}")
