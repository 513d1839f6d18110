"""The pages of the order admin, and the page that asks before orders are removed."""

import re
from html import unescape

from django.test import Client
from django.urls import reverse

from tests.shop.models import Order

LIST = "admin:shop_order_changelist"
BUTTON = "Remove from Komfortkasse"
ACTION = "remove_from_komfortkasse"


def form_url(order: Order) -> str:
    return reverse("admin:shop_order_change", args=[order.pk])


def removal_url(order: Order) -> str:
    return reverse("admin:shop_order_remove_from_komfortkasse", args=[order.pk])


def fields_of(page: str) -> dict[str, list[str]]:
    """Return what the confirmation form would send."""
    found: dict[str, list[str]] = {}
    form = page[page.index('class="komfortkasse-confirmation"') :]
    for tag in re.findall(r"<input type=\"hidden\"[^>]*>", form):
        name, value = (
            re.search(f'{attribute}="([^"]*)"', tag)[1] for attribute in ("name", "value")
        )
        found.setdefault(unescape(name), []).append(unescape(value))
    return found


def select(client: Client, orders, *, url: str | None = None, across: bool = False):
    """Choose the action in the list, and return the confirmation page."""
    data = {
        "action": [ACTION],
        "_selected_action": [str(order.pk) for order in orders],
        "select_across": ["1" if across else "0"],
        "index": ["0"],
    }
    return client.post(url or reverse(LIST), data)


def confirm(client: Client, response, *, url: str | None = None):
    """Send the form of a confirmation page."""
    return client.post(url or response.request["PATH_INFO"], fields_of(text(response)))


def text(response) -> str:
    return response.content.decode()
