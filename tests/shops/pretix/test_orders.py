"""Orders of two organizers on one pretix, placed and deleted through its API, pages and models.

Nothing here opens a scope of django-scopes that pretix would not have opened by itself.
"""

import json
import os
import subprocess
import sys
from datetime import timedelta
from operator import attrgetter

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, models, transaction
from django.db.models import ProtectedError
from django.utils import timezone
from django_scopes import ScopeError, scopes_disabled
from pretix.base.models import Event, Order, Organizer, Team, User
from pretix.base.shredder import EmailAddressShredder

from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.removals import remove


class Store:
    """An organizer with an event in test mode, spoken to through pretix's API."""

    def __init__(self, client, slug):
        self.client = client
        self.slug = slug
        organizer = Organizer.objects.create(
            name=slug, slug=slug, plugins="pretix.plugins.banktransfer"
        )
        with scopes_disabled():
            self.event = Event.objects.create(
                organizer=organizer,
                name="Fair",
                slug="fair",
                date_from=timezone.now() + timedelta(days=30),
                currency="EUR",
                plugins="pretix.plugins.banktransfer",
                testmode=True,
                live=True,
            )
            self.item = self.event.items.create(name="Ticket", default_price="22.38")
            quota = self.event.quotas.create(name="All", size=None)
            quota.items.add(self.item)
            team = Team.objects.create(
                organizer=organizer,
                name="Staff",
                all_events=True,
                all_event_permissions=True,
                all_organizer_permissions=True,
            )
            self.token = team.tokens.create(name="API").token
            self.user = User.objects.create_user(f"{slug}@example.org", "secret")
            team.members.add(self.user)
        self.api = f"/api/v1/organizers/{slug}/events/fair/orders/"
        self.control = f"/control/event/{slug}/fair/"

    def call(self, method, path="", data=None):
        return self.client.generic(
            method,
            self.api + path,
            json.dumps(data or {}),
            content_type="application/json",
            headers={"Authorization": f"Token {self.token}"},
        )

    def place(self, provider="banktransfer", *, testmode=True):
        """Place an order and return its code."""
        answer = self.call(
            "POST",
            data={
                "email": "max@example.org",
                "locale": "en",
                "testmode": testmode,
                "status": "n",
                "payment_provider": provider,
                "positions": [{"item": self.item.pk, "price": "22.38"}],
            },
        )
        assert answer.status_code == 201, answer.content
        return answer.json()["code"]

    def log_in(self):
        self.client.post("/control/login", {"email": self.user.email, "password": "secret"})
        return self.client


@pytest.fixture
def berlin(client, komfortkasse):
    return Store(client, "berlin")


@pytest.fixture
def vienna(client, komfortkasse):
    return Store(client, "vienna")


@pytest.fixture(params=["full_code", "code"])
def number_of(request, settings):
    """Read an order's number: the property that is reported, or the field that may be instead."""
    settings.KOMFORTKASSE = {
        city: {**shop, "ORDER_NUMBER": request.param}
        for city, shop in settings.KOMFORTKASSE.items()
    }
    return attrgetter(request.param)


by_code = pytest.mark.parametrize("number_of", ["code"], indirect=True)


def get(code):
    with scopes_disabled():
        return Order.objects.get(code=code)


def exists(code):
    with scopes_disabled():
        return Order.objects.filter(code=code).exists()


def shown():
    return sorted(RemovedOrder.objects.values_list("shop", "order_number", "state"))


def test_settings_are_right(komfortkasse):
    call_command("check", fail_level="WARNING")


def test_it_is_started_with_settings_of_its_own():
    checked = subprocess.run(
        [sys.executable, "-m", "pretix", "check"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert os.environ["DJANGO_SETTINGS_MODULE"] == "store.settings"
    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout


def test_what_an_order_is():
    assert Order._meta.label == "pretixbase.Order"
    assert type(Order._meta.pk) is models.BigAutoField
    assert isinstance(Order.full_code, property)
    assert ("organizer", "code") in [each.fields for each in Order._meta.constraints]
    assert not Order._meta.get_field("code").unique


def test_there_is_no_scope(komfortkasse):
    with pytest.raises(ScopeError):
        Order.objects.all()


def test_there_is_no_admin():
    assert not apps.is_installed("django.contrib.admin")


# Test orders, deleted by pretix


def test_deleting_through_the_api(berlin, told):
    code = berlin.place()
    assert berlin.call("DELETE", f"{code}/").status_code == 204
    assert not exists(code)
    told(f"FAIR-{code}", shop="berlin")


def test_deleting_on_the_page(berlin, told):
    code = berlin.place()
    answer = berlin.log_in().post(f"{berlin.control}orders/{code}/delete")
    assert answer.status_code == 302
    assert not exists(code)
    told(f"FAIR-{code}", shop="berlin")


def test_leaving_test_mode(berlin, told):
    codes = [berlin.place() for _ in range(3)]
    kept = berlin.place(testmode=False)
    berlin.log_in().post(f"{berlin.control}live/", {"testmode": "false", "delete": "yes"})
    assert not any(map(exists, codes))
    assert exists(kept)
    told(*(f"FAIR-{code}" for code in codes), shop="berlin")


def test_all_of_an_event_s_orders_as_pretix_deletes_them(berlin, vienna, told):
    codes = [berlin.place(), berlin.place()]
    vienna.place()
    with scopes_disabled():
        berlin.event.delete_all_orders(really=True)
    assert not any(map(exists, codes))
    told(*(f"FAIR-{code}" for code in codes), shop="berlin")


def test_two_organizers(berlin, vienna, komfortkasse):
    here, there = berlin.place(), vienna.place()
    berlin.call("DELETE", f"{here}/")
    vienna.call("DELETE", f"{there}/")
    assert sorted(komfortkasse.calls) == [
        ("key-of-berlin", f"FAIR-{here}"),
        ("key-of-vienna", f"FAIR-{there}"),
    ]
    assert shown() == [
        ("berlin", f"FAIR-{here}", "removed"),
        ("vienna", f"FAIR-{there}", "removed"),
    ]


def test_another_payment_provider(berlin, komfortkasse, mirror):
    code = berlin.place("manual")
    komfortkasse.unknown = {f"FAIR-{code}"}
    assert berlin.call("DELETE", f"{code}/").status_code == 204
    assert komfortkasse.calls == [("key-of-berlin", f"FAIR-{code}")]
    assert mirror() == [(f"FAIR-{code}", "unknown")]


def test_an_order_that_is_no_test(berlin, komfortkasse, mirror):
    code = berlin.place(testmode=False)
    assert berlin.call("DELETE", f"{code}/").status_code == 403
    assert exists(code)
    assert komfortkasse.calls == mirror() == []


def test_an_outage(berlin, komfortkasse, retry_now):
    code = berlin.place()
    komfortkasse.down = True
    assert berlin.call("DELETE", f"{code}/").status_code == 204
    assert shown() == [("berlin", f"FAIR-{code}", "pending")]
    komfortkasse.reset()
    retry_now()
    assert komfortkasse.calls == [("key-of-berlin", f"FAIR-{code}")]
    assert shown() == [("berlin", f"FAIR-{code}", "removed")]


# Deleted by a shop's own code

PROTECTING = ("transactions", "all_positions", "payments")


def strip(order, *, of=PROTECTING):
    """Delete what protects an order."""
    with scopes_disabled():
        for name in of:
            getattr(order, name).all().delete()


@pytest.mark.parametrize("kept", PROTECTING)
def test_what_protects_an_order(berlin, komfortkasse, mirror, kept):
    order = get(berlin.place())
    strip(order, of=[name for name in PROTECTING if name != kept])
    with pytest.raises(ProtectedError), scopes_disabled():
        order.delete()
    assert komfortkasse.calls == mirror() == []


def test_events_protect_their_organizer(berlin, komfortkasse, mirror):
    order = get(berlin.place())
    strip(order)
    with pytest.raises(ProtectedError) as error, scopes_disabled():
        order.event.organizer.delete()
    assert order.event in error.value.protected_objects
    assert exists(order.code)
    assert komfortkasse.calls == mirror() == []


def test_an_order_without_a_scope(number_of, berlin, told):
    order = get(berlin.place())
    strip(order)
    order.delete()
    told(number_of(order), shop="berlin")


def test_only_the_primary_key_is_known(number_of, berlin, told):
    order = get(berlin.place())
    strip(order)
    Order(pk=order.pk).delete()
    told(number_of(order), shop="berlin")


def test_many_orders_of_two_organizers(number_of, berlin, vienna, komfortkasse):
    orders = [get(store.place()) for store in (berlin, berlin, vienna)]
    expected = [(order.event.organizer.slug, number_of(order)) for order in orders]
    for order in orders:
        strip(order)
    with scopes_disabled():
        Order.objects.all().delete()
    assert sorted(komfortkasse.calls) == sorted((f"key-of-{city}", each) for city, each in expected)
    assert shown() == sorted((city, each, "removed") for city, each in expected)


def test_a_cascade(number_of, berlin, vienna, told):
    orders = [get(berlin.place()), get(berlin.place())]
    numbers = [number_of(order) for order in orders]
    vienna.place()
    for order in orders:
        strip(order)
    with scopes_disabled():
        berlin.event.quotas.all().delete()
        berlin.event.items.all().delete()
        berlin.event.delete()
    assert not any(exists(order.code) for order in orders)
    told(*numbers, shop="berlin")


@by_code
def test_a_number_that_is_given_again(number_of, berlin, vienna, komfortkasse):
    order = get(berlin.place())
    strip(order)
    with transaction.atomic():
        order.delete()
        again = get(berlin.place())
        again.code = order.code
        again.save()
    # The worker reads the payments of the living order, outside of any scope.
    assert komfortkasse.calls == []
    assert shown() == [("berlin", order.code, "superseded")]


def test_a_number_that_lives_on_at_the_other_organizer(number_of, berlin, vienna, komfortkasse):
    order, other = get(berlin.place()), get(vienna.place())
    strip(order)
    other.code = order.code
    other.save()
    assert number_of(order) == number_of(other)
    order.delete()
    assert komfortkasse.calls == [("key-of-berlin", number_of(order))]
    assert shown() == [("berlin", number_of(order), "removed")]


def test_a_rollback(number_of, berlin, komfortkasse, mirror):
    order = get(berlin.place())
    strip(order)
    with pytest.raises(RuntimeError), transaction.atomic():
        order.delete()
        raise RuntimeError
    assert exists(order.code)
    assert komfortkasse.calls == mirror() == []


def test_a_deletion_behind_django_is_not_seen_but_can_be_told(berlin, komfortkasse, mirror, told):
    order = get(berlin.place())
    strip(order)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM pretixbase_order WHERE id = %s", [order.pk])
    assert komfortkasse.calls == mirror() == []
    remove(f"FAIR-{order.code}", shop="berlin")
    told(f"FAIR-{order.code}", via="code", shop="berlin")


def test_shredded_addresses_leave_the_order_as_it_is(berlin, komfortkasse, mirror):
    order = get(berlin.place())
    with scopes_disabled():
        EmailAddressShredder(berlin.event).shred_data()
        order.refresh_from_db()
    assert order.email is None
    assert komfortkasse.calls == mirror() == []


def test_removing_by_command(berlin, told, capsys):
    code = berlin.place(testmode=False)
    call_command("komfortkasse_remove", f"FAIR-{code}", shop="berlin")
    assert exists(code)
    told(f"FAIR-{code}", via="command", shop="berlin")
    capsys.readouterr()
    call_command("komfortkasse_status")
    assert capsys.readouterr().out.startswith("OK")


# Cancelling


def test_a_cancellation_through_the_api(berlin, told):
    code = berlin.place(testmode=False)
    answer = berlin.call("POST", f"{code}/mark_canceled/", {"send_email": False})
    assert answer.status_code == 200, answer.content
    assert get(code).status == Order.STATUS_CANCELED
    told(f"FAIR-{code}", via="gone", shop="berlin")


def test_a_cancellation_for_which_a_fee_is_due(berlin, komfortkasse, mirror):
    code = berlin.place(testmode=False)
    answer = berlin.call(
        "POST", f"{code}/mark_canceled/", {"send_email": False, "cancellation_fee": "5.00"}
    )
    assert answer.status_code == 200, answer.content
    assert get(code).status == Order.STATUS_PENDING
    assert komfortkasse.calls == mirror() == []


def test_a_cancellation_of_an_order_with_another_provider(berlin, komfortkasse, mirror):
    code = berlin.place("manual", testmode=False)
    berlin.call("POST", f"{code}/mark_canceled/", {"send_email": False})
    assert get(code).status == Order.STATUS_CANCELED
    assert komfortkasse.calls == mirror() == []


def test_cancellations_that_no_signal_tells_of(number_of, berlin, vienna, komfortkasse, reconcile):
    orders = [get(store.place(testmode=False)) for store in (berlin, vienna)]
    with scopes_disabled():
        Order.objects.update(status=Order.STATUS_CANCELED)
    berlin.place(testmode=False)
    assert shown() == []
    reconcile()
    assert shown() == [
        (city, number_of(order), "removed")
        for city, order in zip(("berlin", "vienna"), orders, strict=True)
    ]


def test_an_order_that_is_reactivated_before_it_is_told(number_of, berlin, komfortkasse, retry_now):
    code = berlin.place(testmode=False)
    komfortkasse.down = True
    berlin.call("POST", f"{code}/mark_canceled/", {"send_email": False})
    answer = berlin.call("POST", f"{code}/reactivate/")
    assert answer.status_code == 200, answer.content
    komfortkasse.reset()
    retry_now()
    number = number_of(get(code))
    # The property cannot be looked up, so its removal is sent.
    state = "superseded" if number == code else "removed"
    assert shown() == [("berlin", number, state)]
