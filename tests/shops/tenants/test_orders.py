"""Orders of two tenants, each with a schema, a mirror and an API key of its own."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from django_tenants.utils import schema_exists, tenant_context
from tenants.models import Domain, Tenant

from komfortkasse_django.models import RemovedOrder, ShopState
from shop.models import Order
from tests.support.manual import recipe


def found(name):
    tenant = Tenant.objects.create(schema_name=name, komfortkasse_api_key=f"key-of-{name}")
    Domain.objects.create(domain=f"{name}.example.org", tenant=tenant, is_primary=True)
    return tenant


@pytest.fixture(scope="session")
def cities(migrated, django_db_blocker):
    """The tenants, made once: their schemas take long."""
    with django_db_blocker.unblock():
        cities = [found("berlin"), found("vienna")]
        yield cities
        connection.set_schema_to_public()
        for tenant in cities:
            tenant.delete(force_drop=True)
            assert not schema_exists(tenant.schema_name)


@pytest.fixture
def tenants(cities, komfortkasse):
    """The tenants with orders 1001 to 1003 each, and nothing else."""
    # What the fixture "database" empties is what all tenants share, themselves included.
    Tenant.objects.bulk_create(
        cities,
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["komfortkasse_api_key"],
    )
    Domain.objects.bulk_create(
        [Domain(domain=f"{each.schema_name}.example.org", tenant=each) for each in cities],
        ignore_conflicts=True,
    )
    for tenant in cities:
        with tenant_context(tenant):
            for model in (Order, RemovedOrder, ShopState):
                model.objects.all()._raw_delete("default")
            Order.objects.bulk_create(Order(number=number) for number in (1001, 1002, 1003))
    yield cities
    connection.set_schema_to_public()


@pytest.fixture
def berlin(tenants):
    return tenants[0]


@pytest.fixture
def vienna(tenants):
    return tenants[1]


def mirror_of(tenant):
    with tenant_context(tenant):
        return sorted(RemovedOrder.objects.values_list("order_number", "state"))


def delete(tenant, number="1001"):
    with tenant_context(tenant):
        Order.objects.get(number=number).delete()


def each_tenant(*arguments):
    """Run it as the manual says, and return what it wrote and its error."""
    written = StringIO()
    try:
        call_command("each_tenant", *arguments, stdout=written, stderr=written)
    except CommandError as error:
        return written.getvalue(), str(error)
    return written.getvalue(), None


def test_settings_are_right(tenants):
    call_command("check", fail_level="WARNING")


def test_the_mirror_is_in_the_schemas_of_tenants_only(berlin):
    table = RemovedOrder._meta.db_table
    assert table not in connection.introspection.table_names()
    with tenant_context(berlin):
        assert table in connection.introspection.table_names()


def test_each_has_its_own_key_and_mirror(berlin, vienna, komfortkasse):
    delete(berlin, "1001")
    delete(vienna, "1001")
    delete(vienna, "1002")
    assert komfortkasse.calls == [
        ("key-of-berlin", "1001"),
        ("key-of-vienna", "1001"),
        ("key-of-vienna", "1002"),
    ]
    assert mirror_of(berlin) == [("1001", "removed")]
    assert mirror_of(vienna) == [("1001", "removed"), ("1002", "removed")]


def test_a_cancellation(berlin, vienna, komfortkasse):
    with tenant_context(vienna):
        order = Order.objects.get(number="1002")
        order.status = "cancelled"
        order.save()
    assert komfortkasse.calls == [("key-of-vienna", "1002")]
    assert mirror_of(berlin) == []
    assert mirror_of(vienna) == [("1002", "removed")]


def test_a_request(vienna, komfortkasse):
    assert Client(HTTP_HOST="vienna.example.org").get("/delete/1003/").status_code == 200
    assert komfortkasse.calls == [("key-of-vienna", "1003")]
    assert mirror_of(vienna) == [("1003", "removed")]


def test_a_rollback(berlin, komfortkasse):
    with tenant_context(berlin), transaction.atomic():
        Order.objects.all().delete()
        transaction.set_rollback(True)
    assert komfortkasse.calls == mirror_of(berlin) == []


def test_a_key_that_is_changed_while_it_runs(berlin, komfortkasse):
    with tenant_context(berlin):  # whose key is read now
        delete(berlin, "1001")
        Tenant.objects.filter(pk=berlin.pk).update(komfortkasse_api_key="another-key")
        delete(berlin, "1002")
    assert komfortkasse.calls == [("key-of-berlin", "1001"), ("another-key", "1002")]


def test_two_tenants_in_one_transaction(berlin, vienna, komfortkasse):
    with transaction.atomic():
        delete(berlin)
        delete(vienna)
    assert mirror_of(berlin) == mirror_of(vienna) == [("1001", "pending")]
    assert each_tenant("komfortkasse_push", "-v", "0") == ("", None)
    assert sorted(komfortkasse.calls) == [("key-of-berlin", "1001"), ("key-of-vienna", "1001")]
    assert mirror_of(berlin) == mirror_of(vienna) == [("1001", "removed")]


class TestEachTenant:
    @pytest.fixture(autouse=True)
    def pending(self, tenants, komfortkasse):
        komfortkasse.down = True
        for tenant in tenants:
            delete(tenant)
            with tenant_context(tenant):
                RemovedOrder.objects.update(next_attempt_at="2026-01-01T00:00Z")
        komfortkasse.reset()

    def test_what_the_manual_runs(self, tenants, capsys):
        for line in recipe("django-tenants", 1).lines:
            program, script, *arguments = line.split()
            assert (program, script) == ("python", "manage.py")
            call_command(*arguments)
        assert capsys.readouterr().out.count("OK") >= 2
        for tenant in tenants:
            assert mirror_of(tenant) == [("1001", "removed")]

    def test_push(self, tenants, komfortkasse):
        assert each_tenant("komfortkasse_push", "-v", "0") == ("", None)
        assert sorted(komfortkasse.calls) == [("key-of-berlin", "1001"), ("key-of-vienna", "1001")]
        for tenant in tenants:
            assert mirror_of(tenant) == [("1001", "removed")]

    @pytest.mark.parametrize("broken", [0, 1])
    def test_a_key_that_can_not_be_used(self, tenants, komfortkasse, broken):
        tenant, other = tenants[broken], tenants[1 - broken]
        Tenant.objects.filter(pk=tenant.pk).update(komfortkasse_api_key="no key")
        written, error = each_tenant("komfortkasse_push")
        assert error == f"Failed for {tenant.schema_name}"
        assert f"{tenant.schema_name}: " in written
        assert mirror_of(tenant) == [("1001", "pending")]
        assert mirror_of(other) == [("1001", "removed")]
        assert komfortkasse.calls == [(f"key-of-{other.schema_name}", "1001")]

    def test_a_schema_that_was_not_migrated(self, berlin, vienna):
        table = RemovedOrder._meta.db_table
        with tenant_context(berlin), connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME TO hidden")
        try:
            written, error = each_tenant("komfortkasse_push")
        finally:
            with tenant_context(berlin), connection.cursor() as cursor:
                cursor.execute(f"ALTER TABLE hidden RENAME TO {table}")
        assert error == "Failed for berlin"
        assert "berlin: " in written
        assert mirror_of(berlin) == [("1001", "pending")]
        assert mirror_of(vienna) == [("1001", "removed")]

    def test_a_tenant_without_a_key_is_left_out(self, berlin, vienna):
        Tenant.objects.filter(pk=berlin.pk).update(komfortkasse_api_key="")
        assert each_tenant("komfortkasse_push", "-v", "0") == ("", None)
        assert mirror_of(berlin) == [("1001", "pending")]
        assert mirror_of(vienna) == [("1001", "removed")]

    def test_a_pause_is_the_tenant_s_own(self, berlin, vienna):
        with tenant_context(berlin):
            until = timezone.now() + timedelta(minutes=5)
            ShopState.objects.filter(shop="default").delete()
            ShopState.objects.create(shop="default", paused_until=until, failures=10)
        assert each_tenant("komfortkasse_push")[1] == "Failed for berlin"
        assert mirror_of(berlin) == [("1001", "pending")]
        assert mirror_of(vienna) == [("1001", "removed")]

    def test_reconcile(self, tenants, komfortkasse):
        for tenant, number in zip(tenants, ("1002", "1003"), strict=True):
            with tenant_context(tenant):
                Order.objects.filter(number=number).update(status="cancelled")
        assert each_tenant("komfortkasse_reconcile", "-v", "0") == ("", None)
        assert komfortkasse.calls == []
        each_tenant("komfortkasse_push", "-v", "0")
        assert [mirror_of(tenant) for tenant in tenants] == [
            [("1001", "removed"), ("1002", "removed")],
            [("1001", "removed"), ("1003", "removed")],
        ]

    def test_reconcile_where_one_fails(self, berlin, vienna):
        for tenant in (berlin, vienna):
            with tenant_context(tenant):
                Order.objects.filter(number="1002").update(status="cancelled")
        with tenant_context(berlin):
            Order.objects.all()._raw_delete("default")
        assert each_tenant("komfortkasse_reconcile", "-v", "0")[1] == "Failed for berlin"
        assert mirror_of(berlin) == [("1001", "pending")]
        assert mirror_of(vienna) == [("1001", "pending"), ("1002", "pending")]
