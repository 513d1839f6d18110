"""The mirror's admin shows everything and changes nothing."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import reverse

from komfortkasse_django.models import RemovedOrder

pytestmark = pytest.mark.django_db

LIST = "admin:komfortkasse_django_removedorder_changelist"


@pytest.fixture
def row():
    return RemovedOrder.objects.create(
        shop="default",
        order_number="<b>1001</b>",
        requested_via="delete",
        state="removed",
        payment_status="PLANNED",
        reference_number="K1234A",
        last_error="<script>",
        next_attempt_at=None,
    )


def test_list_and_page_show_and_escape(admin_client, row):
    listed = admin_client.get(reverse(LIST)).content.decode()
    shown = admin_client.get(
        reverse("admin:komfortkasse_django_removedorder_change", args=[row.pk])
    ).content.decode()

    for page in (listed, shown):
        assert "&lt;b&gt;1001&lt;/b&gt;" in page
        assert "<b>1001</b>" not in page
        assert "K1234A" in page
        assert "PLANNED" in page
    assert "&lt;script&gt;" in shown


@pytest.mark.parametrize("sought", ["<b>1001</b>", "K1234A"])
def test_search_finds_order_and_reference_number(admin_client, row, sought):
    RemovedOrder.objects.create(shop="default", order_number="1002", requested_via="delete")

    response = admin_client.get(reverse(LIST), {"q": sought})

    assert list(response.context["cl"].result_list) == [row]


def test_filters(admin_client, row):
    other = RemovedOrder.objects.create(shop="b", order_number="1002", requested_via="admin")

    response = admin_client.get(reverse(LIST), {"state__exact": "pending"})

    assert list(response.context["cl"].result_list) == [other]


def test_nothing_can_be_changed(admin_client, row):
    change = reverse("admin:komfortkasse_django_removedorder_change", args=[row.pk])

    assert (
        admin_client.get(reverse("admin:komfortkasse_django_removedorder_add")).status_code == 403
    )
    assert admin_client.post(change, {"state": "failed"}).status_code == 403
    delete = reverse("admin:komfortkasse_django_removedorder_delete", args=[row.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403
    row.refresh_from_db()
    assert row.state == "removed"


def test_needs_a_login_and_the_permission(client, row):
    assert client.get(reverse(LIST)).status_code == 302
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert client.get(reverse(LIST)).status_code == 403


def test_is_registered():
    assert RemovedOrder in admin.site._registry
