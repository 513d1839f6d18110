"""What staff need of this app, in another theme of the admin, light and dark."""

import base64
import re

import pytest
from playwright.sync_api import expect

from komfortkasse_django.models import RemovedOrder
from sandbox.models import Outage, SandboxOrder
from shop.models import Order
from tests.browser.people import hire, place, remember

pytestmark = pytest.mark.django_db(transaction=True)

MIRROR = "/admin/komfortkasse_django/removedorder/"
ORDERS = "/admin/shop/order/"
READABLE = 3
"""The contrast that WCAG 2 asks for of controls. Some colours are the theme's own."""

MEASURE = """
async (element, screenshot) => {
    const image = new Image();
    image.src = `data:image/png;base64,${screenshot}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.width, image.height];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const border = 3;
    const size = [image.width - 2 * border, image.height - 2 * border];
    const pixels = context.getImageData(border, border, ...size).data;
    const linear = (value) => {
        value /= 255;
        return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    };
    let [darkest, lightest] = [1, 0];
    for (let i = 0; i < pixels.length; i += 4) {
        const [red, green, blue] = pixels.slice(i, i + 3);
        const light = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
        darkest = Math.min(darkest, light);
        lightest = Math.max(lightest, light);
    }
    return (lightest + 0.05) / (darkest + 0.05);
}
"""


@pytest.fixture(params=["light", "dark"])
def scheme(request) -> dict[str, object]:
    return {"color_scheme": request.param, "viewport": {"width": 1440, "height": 900}}


def assert_readable(*locators) -> None:
    """The element's words can be read: its darkest and its lightest pixel differ enough."""
    for locator in locators:
        expect(locator).to_be_visible()
        picture = base64.b64encode(locator.screenshot(animations="disabled")).decode()
        contrast = locator.evaluate(MEASURE, picture)
        assert contrast >= READABLE, f"{locator.inner_text()}: {contrast:.1f}"


def color_of(locator) -> str:
    return locator.evaluate("element => getComputedStyle(element).backgroundColor")


def check(page, *numbers: str) -> None:
    for number in numbers:
        row = page.locator("#result_list").get_by_role("row", name=number)
        row.get_by_role("checkbox").check()


def choose(page, action: str) -> None:
    """Choose an action of the list for what is checked."""
    page.locator("select[name=action]").first.select_option(action)
    page.get_by_role("button", name=re.compile("^(Go|Run)$")).first.click()


def test_the_settings_are_right():
    from django.core.management import call_command

    call_command("check", fail_level="WARNING")


def test_the_list(visit, scheme):
    remember()
    page = visit(hire(), MIRROR, **scheme)
    badges = page.locator("#result_list .komfortkasse-badge")
    states = ("pending", "failed", "superseded", "removed")
    shown = [badges.get_by_text(state, exact=True).first for state in states]
    assert_readable(*shown)
    assert len({color_of(badge) for badge in shown}) == len(shown)
    links = page.locator(".komfortkasse-counts a")
    assert_readable(links.first, links.last, page.locator(".komfortkasse-refund").first)

    page.get_by_role("link", name="1 failed").click()

    expect(page.locator("#result_list tbody tr")).to_have_count(1)


def test_trying_again(visit, scheme):
    outage = Outage.objects.create()
    place("1015").delete()
    outage.delete()
    page = visit(hire(), MIRROR, **scheme)
    page.locator("#result_list").get_by_role("link", name="1015").click()
    button = page.get_by_role("button", name="Try again")
    assert_readable(button, page.locator(".komfortkasse-badge"))

    button.click()

    expect(page.locator("body")).to_contain_text("Komfortkasse: 1 removed.")
    assert RemovedOrder.objects.get().state == "removed"


def test_trying_several_again(visit):
    remember()
    outage = Outage.objects.create()
    for number in ("1015", "1016"):
        place(number).delete()
    outage.delete()
    page = visit(hire(), MIRROR)
    check(page, "1015", "1016")

    choose(page, "try_again")

    expect(page.locator("body")).to_contain_text("Komfortkasse: 2 removed.")
    assert RemovedOrder.objects.failed().exists()


def test_settling(visit, scheme):
    remember()
    page = visit(hire(), f"{MIRROR}?to_do=to_refund", **scheme)
    page.locator("#result_list").get_by_role("link", name="1002").click()
    button = page.get_by_role("button", name="Settled", exact=True)
    assert_readable(button, page.get_by_role("region", name="What to do").locator("p").first)
    page.get_by_label("Note").fill("bank transfer")

    button.click()

    expect(page.locator("body")).to_contain_text("Komfortkasse: 1 removal is settled.")
    expect(page.locator("body")).to_contain_text("Erika: bank transfer")
    expect(page.get_by_role("button", name="Not settled")).to_be_visible()


def test_settling_several(visit, scheme):
    remember()
    page = visit(hire(), f"{MIRROR}?to_do=to_refund", **scheme)
    check(page, "1002", "1005")

    choose(page, "settle")
    button = page.get_by_role("button", name="Settled")
    page.get_by_label("Note").fill("bank transfer")
    assert_readable(button, page.get_by_label("Note"), page.get_by_text("1005: refund"))
    button.click()

    expect(page.locator("body")).to_contain_text("Komfortkasse: 2 removals are settled.")


def test_the_button_on_the_form_of_an_order(visit, scheme):
    order = place("1015")
    page = visit(hire(), f"{ORDERS}{order.pk}/change/", **scheme)
    link = page.get_by_role("link", name="Remove from Komfortkasse")
    assert_readable(link)

    link.click()
    expect(page.locator("body")).to_contain_text("Shall Komfortkasse remove this order?")
    button = page.get_by_role("button", name="Remove 1 order")
    assert_readable(button, page.get_by_role("link", name="Back, without removing anything"))
    button.click()

    expect(page.locator("body")).to_contain_text("Komfortkasse: 1 removed.")
    assert Order.objects.get() == order
    note = page.get_by_role("region", name="Komfortkasse")
    assert_readable(note.locator("p"), note.get_by_role("link"))

    note.get_by_role("link").click()
    link = page.get_by_role("link", name="Order in the shop")
    assert_readable(link)
    link.click()

    expect(page.get_by_role("link", name="Remove from Komfortkasse")).to_be_visible()


def test_the_action_on_the_list_of_orders(visit):
    for number in ("1015", "1016", "1017"):
        place(number)
    page = visit(hire(), ORDERS)
    check(page, "1015", "1016")

    choose(page, "remove_from_komfortkasse")
    page.get_by_role("button", name="Remove 2 orders").click()

    expect(page.locator("body")).to_contain_text("Komfortkasse: 2 removed.")
    assert SandboxOrder.objects.get(removed_at=None).number == "1017"
