"""What staff can do in the Order admin of every shop."""

from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from komfortkasse_django.conf import shops
from komfortkasse_django.removals import remove
from tests.shops.page import Page

ACTION = "Remove selected Orders from Komfortkasse"
BUTTON = "Remove from Komfortkasse"
NOTE = "This order at Komfortkasse:"


def admin_url(view: str, *arguments: object) -> str:
    """The URL of a page of the shop's Order admin."""
    meta = shops()["default"].model._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{view}", args=arguments)


class OrderAdminTests:
    """To be inherited by a class beside a shop's fixture ``place``."""

    number: str
    """The field that holds the order number."""
    card: str
    """A payment method that is none of Komfortkasse's business."""

    def number_of(self, order) -> str:
        return str(getattr(order, self.number))

    def test_the_button(self, place, told, staff):
        order = place()
        page = Page.open(staff, admin_url("change", order.pk)).follow(BUTTON)
        assert str(order) in page.text
        page = page.press("Remove 1 order")
        assert page.url == admin_url("change", order.pk)
        assert "1 removed" in page.text
        order.refresh_from_db()
        told(self.number_of(order), via="admin")
        assert LogEntry.objects.get().get_edited_object() == order

    def test_from_the_form_to_the_removal_and_back(self, place, staff):
        order = place()
        form = admin_url("change", order.pk)
        assert NOTE not in Page.open(staff, form).text
        remove(order)
        page = Page.open(staff, form)
        assert NOTE in page.text
        page = page.follow("Go to the removal")
        assert self.number_of(order) in page.text
        if shops()["default"].number_field:
            assert page.follow("Order in the shop").url == form

    def test_the_action(self, place, told, staff):
        orders = [place(), place()]
        by_card = place(self.card)
        page = Page.open(staff, admin_url("changelist")).act(ACTION, [*orders, by_card])
        assert f"Not handled by Komfortkasse (1)</bdi>:\n    <bdi>{by_card}</bdi>" in page.text
        page = page.press("Remove 2 orders")
        assert page.url == admin_url("changelist")
        assert "2 removed" in page.text
        assert type(by_card).objects.count() == 3
        told(*map(self.number_of, orders), via="admin")
        assert LogEntry.objects.count() == 2

    def test_the_button_while_komfortkasse_is_down(
        self, place, staff, komfortkasse, mirror, retry_now
    ):
        order = place()
        komfortkasse.down = True
        page = Page.open(staff, admin_url("change", order.pk)).follow(BUTTON)
        page.press("Remove 1 order")
        assert mirror() == [(self.number_of(order), "pending")]
        komfortkasse.reset()
        retry_now()
        assert komfortkasse.numbers == [self.number_of(order)]
        assert mirror() == [(self.number_of(order), "removed")]

    def test_staff_without_the_permission(self, place, client, komfortkasse, mirror):
        order = place()
        user = get_user_model().objects.create_user("temp", "temp@example.org", "x", is_staff=True)
        user.user_permissions.set(
            Permission.objects.filter(codename__in=["view_order", "change_order", "delete_order"])
        )
        client.force_login(user)
        assert BUTTON not in Page.open(client, admin_url("change", order.pk)).text
        assert ACTION not in Page.open(client, admin_url("changelist")).text
        url = admin_url("remove_from_komfortkasse", order.pk)
        assert client.get(url).status_code == client.post(url).status_code == 403
        assert komfortkasse.calls == mirror() == []
