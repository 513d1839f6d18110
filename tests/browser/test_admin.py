"""What staff do in the example shop's admin."""

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
NBSP = "\N{NO-BREAK SPACE}"
DARK = "rgb(18, 18, 18)"  # --body-bg of Django's dark theme


def is_removed(number: str) -> bool:
    """Whether Komfortkasse was told."""
    return SandboxOrder.objects.get(number=number).removed_at is not None


def messages(page):
    return page.locator(".messagelist")


def choose(page, action: str) -> None:
    """Choose an action of the list for what is checked."""
    page.locator("select[name=action]").first.select_option(action)
    page.get_by_role("button", name=re.compile("^(Go|Ausführen|Run)$")).first.click()


def start(visit, user, path: str, **options: object):
    """Open a page without the sidebar, which would leave little room for it."""
    page = visit(user, path, **options)
    page.locator("#toggle-nav-sidebar").click()
    return page


def test_a_deleted_order_is_in_the_mirror(visit):
    order = place("1015")
    page = visit(hire(), f"{ORDERS}{order.pk}/delete/")
    page.locator("#content input[type=submit]").click()
    expect(messages(page)).to_contain_text("deleted successfully")

    page.goto(MIRROR)

    row = page.locator("#result_list tbody tr")
    expect(row).to_contain_text("1015")
    expect(row.locator(".komfortkasse-badge")).to_have_text("removed")
    expect(row).to_contain_text("K1015A")
    assert is_removed("1015")


def test_the_action_on_the_list(visit):
    place("1016")
    place("1017", method="paypal")
    place("1018")
    place("1019")
    RemovedOrder.objects.create(
        shop="default", order_number="1018", state="unknown", requested_via="delete"
    )
    user = hire("shop.view_order", "komfortkasse_django.remove_order")
    page = start(visit, user, ORDERS)
    for number in ("1016", "1017", "1018"):
        page.get_by_role("row", name=number).get_by_role("checkbox").check()

    choose(page, "remove_from_komfortkasse")

    content = page.locator("#content")
    expect(page.get_by_role("heading", level=1)).to_have_text("Remove from Komfortkasse")
    expect(content).to_contain_text("Shall Komfortkasse remove these 2 orders?")
    expect(content).to_contain_text("Not handled by Komfortkasse (1): 1017")
    expect(page.get_by_role("row", name="1018")).to_contain_text("unknown to Komfortkasse")
    assert not is_removed("1016")

    page.get_by_role("button", name="Remove 2 orders").click()

    expect(messages(page)).to_have_text("Komfortkasse: 2 removed.")
    assert page.url.endswith(ORDERS)
    assert is_removed("1016")
    assert is_removed("1018")
    assert not is_removed("1017")
    assert not is_removed("1019")
    assert Order.objects.count() == 4


def test_the_button_on_the_form(visit):
    order = place("1015")
    page = start(visit, hire(), f"{ORDERS}{order.pk}/change/")
    button = page.get_by_role("link", name="Remove from Komfortkasse")
    expect(button).to_be_visible()

    button.click()
    page.get_by_role("link", name="Back, without removing anything").click()
    assert page.url.endswith(f"{ORDERS}{order.pk}/change/")
    assert not is_removed("1015")

    page.get_by_role("link", name="Remove from Komfortkasse").click()
    page.get_by_role("button", name="Remove 1 order").click()

    expect(messages(page)).to_have_text("Komfortkasse: 1 removed.")
    assert is_removed("1015")
    page.get_by_role("link", name="History").click()
    expect(page.locator("#change-history")).to_contain_text("Asked Komfortkasse to remove it.")


def test_from_an_order_to_its_removal_and_back(visit):
    order = place("1015", paymentStatus="PAID", amountPaid=39.9, collectionPartner="Inkasso Nord")
    page = start(visit, hire(), f"{ORDERS}{order.pk}/change/")
    note = page.get_by_role("region", name="Komfortkasse")
    expect(note).to_have_count(0)
    page.get_by_role("link", name="Remove from Komfortkasse").click()
    page.get_by_role("button", name="Remove 1 order").click()
    expect(messages(page)).to_have_text(
        f"Komfortkasse: 1 removed. Money had arrived: refund 39.90{NBSP}EUR for order 1015."
        " A collection agency is at work: have it called off for order 1015."
    )
    expect(note).to_contain_text("just now")
    expect(note).to_contain_text(f"39.90{NBSP}EUR")
    expect(note).to_contain_text("at a collection agency")

    page.get_by_role("link", name="Go to the removal").focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Order in the shop").focus()
    page.keyboard.press("Enter")

    page.wait_for_url(f"**{ORDERS}{order.pk}/change/")
    page.get_by_role("link", name="Remove from Komfortkasse").click()
    expect(page.locator("#content")).to_contain_text("Komfortkasse has removed this order before.")


def test_the_keyboard_is_enough(visit):
    order = place("1015")
    page = visit(hire(), f"{ORDERS}{order.pk}/change/")
    page.get_by_role("link", name="Remove from Komfortkasse").focus()
    page.keyboard.press("Enter")
    button = page.get_by_role("button", name="Remove 1 order")
    expect(button).to_be_visible()

    for _ in range(40):
        if button.evaluate("element => element === document.activeElement"):
            break
        page.keyboard.press("Tab")
    assert button.evaluate("element => getComputedStyle(element).outlineStyle") != "none" or (
        button.evaluate("element => element.matches(':focus-visible')")
    )
    page.keyboard.press("Enter")

    expect(messages(page)).to_have_text("Komfortkasse: 1 removed.")


def test_without_javascript(visit):
    order = place("1015")
    page = visit(hire(), java_script_enabled=False)

    page.goto(f"{ORDERS}{order.pk}/change/")
    page.get_by_role("link", name="Remove from Komfortkasse").click()
    page.get_by_role("button", name="Remove 1 order").click()

    expect(messages(page)).to_have_text("Komfortkasse: 1 removed.")
    assert is_removed("1015")


def test_trying_again_after_an_outage(visit):
    outage = Outage.objects.create()
    place("1015").delete()
    page = visit(hire("komfortkasse_django.view_removedorder", "komfortkasse_django.remove_order"))
    page.goto(MIRROR)
    page.get_by_role("link", name="1015").click()
    expect(page.locator("#content")).to_contain_text("out of order or overloaded")

    page.get_by_role("button", name="Try again").click()

    expect(messages(page)).to_contain_text("1 will be tried again in")
    outage.delete()
    page.get_by_role("button", name="Try again").click()
    expect(messages(page)).to_have_text("Komfortkasse: 1 removed.")
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    assert is_removed("1015")


def test_trying_several_again(visit):
    outage = Outage.objects.create()
    for number in ("1015", "1016"):
        place(number).delete()
    outage.delete()
    page = visit(hire(), MIRROR)
    page.locator("#action-toggle").check()

    choose(page, "try_again")

    expect(messages(page)).to_have_text("Komfortkasse: 2 removed.")


def test_the_overview_leads_to_the_rows(visit):
    remember()
    page = start(visit, hire(), MIRROR, viewport={"width": 1440, "height": 800})
    expect(page.get_by_role("region", name="Overview")).to_contain_text(
        f"2 refunds (1,054.00{NBSP}EUR)"
    )

    page.get_by_role("link", name="1 failed").click()

    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.get_by_role("link", name="1006").click()
    expect(page.locator("#content")).to_contain_text("Nothing happens by itself")


def test_german(visit):
    remember()
    page = start(visit, hire(), MIRROR, viewport={"width": 1440, "height": 800}, locale="de-DE")
    region = page.get_by_role("region", name="Übersicht")
    expect(region).to_contain_text("2 Rückerstattungen (1.054,00\N{NO-BREAK SPACE}EUR)")
    expect(region).to_contain_text("3 ausstehend")
    expect(page.locator("#result_list")).to_contain_text("in 3 Minuten")
    expect(page.locator("#result_list")).to_contain_text("vor 2 Tagen")

    order = place("1015")
    page.goto(f"{ORDERS}{order.pk}/change/")
    page.get_by_role("link", name="Aus Komfortkasse entfernen").click()
    page.get_by_role("button", name="1 Bestellung entfernen").click()
    expect(messages(page)).to_have_text("Komfortkasse: 1 entfernt.")


def test_the_dark_theme(visit):
    remember()
    page = visit(hire(), MIRROR, color_scheme="dark")

    def style(selector: str, name: str) -> str:
        return page.locator(selector).first.evaluate(
            "(element, name) => getComputedStyle(element)[name]", name
        )

    assert style("body", "backgroundColor") == DARK
    for selector in (".komfortkasse-counts a", ".komfortkasse-badge", ".komfortkasse-bad a"):
        assert style(selector, "color") == "rgb(238, 238, 238)", selector
        assert style(selector, "backgroundColor") not in {"rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"}


@pytest.mark.parametrize(
    "path", [MIRROR, f"{ORDERS}{{}}/remove-from-komfortkasse/", f"{ORDERS}{{}}/change/"]
)
def test_on_a_narrow_screen_only_tables_scroll(visit, path):
    remember()
    order = place("a very long order number of 40 characters")
    RemovedOrder.objects.filter(order_number="1002").update(order_number=order.number)
    page = visit(hire(), path.format(order.pk), viewport={"width": 400, "height": 800})

    assert page.evaluate("document.documentElement.scrollWidth") <= 400


WIDTHS = [(1440, "light"), (1440, "dark"), (1100, "light"), (390, "light"), (390, "dark")]


@pytest.mark.parametrize("locale", ["en", "de-DE"])
@pytest.mark.parametrize(("width", "scheme"), WIDTHS)
def test_the_list_fits(visit, locale, width, scheme):
    """With the sidebar open, as on a first visit. German words are longer."""
    remember()
    size = {"width": width, "height": 900}
    page = visit(hire(), MIRROR, locale=locale, viewport=size, color_scheme=scheme)

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    table = page.locator("#changelist-form .results")
    assert table.evaluate("element => element.scrollWidth - element.clientWidth") <= 0
    cells = page.locator("#result_list tbody :is(th, td)")
    cut_off = "cells => cells.filter(cell => cell.scrollWidth > cell.clientWidth + 1).length"
    assert cells.evaluate_all(cut_off) == 0
    row = page.locator("#result_list tr:has-text('1005')")  # it has something in each cell
    row.scroll_into_view_if_needed()
    for name in ("number", "state_and_more", "to_do", "amounts"):
        expect(row.locator(f".field-{name}")).to_be_in_viewport(ratio=1)
    if width == 390:
        number, state, to_do, amounts = (
            row.locator(f".field-{name}").bounding_box()
            for name in ("number", "state_and_more", "to_do", "amounts")
        )
        assert number["y"] == state["y"] < to_do["y"] == amounts["y"]
    else:
        lines = "rows => Math.max(...rows.map(row => row.offsetHeight))"
        assert page.locator("#result_list tbody tr").evaluate_all(lines) <= 56  # two lines


@pytest.mark.parametrize("locale", ["en", "de-DE"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_of_a_removal_fits(visit, locale, width):
    remember()
    RemovedOrder.objects.update(last_error="x" * 300, error_code="unforeseen")
    page = visit(hire(), locale=locale, viewport={"width": width, "height": 900})

    for row in RemovedOrder.objects.all():
        page.goto(f"{MIRROR}{row.pk}/change/")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, row


def test_settling_and_taking_it_back_with_the_keyboard(visit):
    remember()
    page = visit(hire(), f"{MIRROR}?to_do=to_refund")
    page.get_by_role("link", name="1002").click()
    page.get_by_label("Note").focus()
    page.keyboard.type("bank transfer")

    page.keyboard.press("Enter")

    expect(messages(page)).to_have_text("Komfortkasse: 1 removal is settled.")
    steps = page.get_by_role("region", name="What to do")
    expect(steps).to_contain_text("Erika: bank transfer")
    page.get_by_role("button", name="Not settled").focus()
    page.keyboard.press("Enter")
    expect(messages(page)).to_have_text("Komfortkasse: 1 removal is to be settled again.")
    expect(page.get_by_role("button", name="Settled", exact=True)).to_be_visible()


def test_settling_several(visit):
    remember()
    page = visit(hire(), f"{MIRROR}?to_do=all")
    page.locator("#action-toggle").check()

    choose(page, "settle")

    expect(page.locator("#content")).to_contain_text("1005: refund")
    page.get_by_label("Note").fill("all done")
    page.get_by_role("button", name="Settled").click()
    expect(messages(page)).to_have_text("Komfortkasse: 4 removals are settled.")
    overview = page.get_by_role("region", name="Overview")
    expect(overview).to_contain_text("2 to do")
    expect(overview).not_to_contain_text("refund")


def test_exporting(visit):
    remember()
    page = visit(hire(), f"{MIRROR}?to_do=to_refund", locale="de-DE")
    page.locator("#action-toggle").check()

    with page.expect_download() as download:
        choose(page, "export")

    content = download.value.path().read_text(encoding="utf-8-sig")
    assert [line.split(";")[0] for line in content.splitlines()] == [
        "Bestellnummer",
        "1002",
        "1005",
    ]


def test_from_right_to_left(visit):
    remember()
    page = visit(hire(), MIRROR, locale="ar")
    for words in page.locator(".komfortkasse-overview bdi, #result_list bdi").all():
        # English and its numbers are not torn apart.
        assert words.evaluate("element => getComputedStyle(element).direction") == "ltr"


def test_without_the_permission(visit):
    order = place("1015")
    remember()
    user = hire("shop.view_order", "shop.change_order", "komfortkasse_django.view_removedorder")
    page = visit(user, f"{ORDERS}{order.pk}/change/")
    expect(page.get_by_role("link", name="History")).to_be_visible()
    expect(page.get_by_role("link", name="Remove from Komfortkasse")).to_have_count(0)

    page.goto(ORDERS)
    expect(page.locator("select[name=action]")).not_to_contain_text("Komfortkasse")
    page.goto(f"{MIRROR}?state=failed")
    page.get_by_role("link", name="1006").click()
    expect(page.locator("#content")).to_contain_text("Nothing happens by itself")
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)


def test_a_page_that_is_forbidden(visit, shop):
    order = place("1015")
    page = visit(hire("shop.view_order"))

    answer = page.request.get(f"{shop}{ORDERS}{order.pk}/remove-from-komfortkasse/")

    assert answer.status == 403
