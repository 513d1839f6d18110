"""Invoices of django-ledger, ended in each of its ways."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.utils import timezone
from django_ledger.models import EntityModel, InvoiceModel
from django_ledger.models.signals import invoice_status_canceled


@pytest.fixture
def issue(komfortkasse):
    """Issue an invoice, a draft, by an entity of this name."""
    entities = {}

    def found(name):
        admin, _ = get_user_model().objects.get_or_create(username="admin")
        entity = EntityModel.create_entity(
            name=name, use_accrual_method=False, admin=admin, fy_start_month=1
        )
        entity.create_chart_of_accounts(assign_as_default=True, commit=True)
        entity.populate_default_coa(activate_accounts=True)
        return entity, entity.create_customer({"customer_name": "Max"})

    def issue(name="Berlin"):
        entity, customer = entities[name] = entities.get(name) or found(name)
        yesterday = timezone.localdate() - timedelta(days=1)
        invoice = entity.create_invoice(customer, terms="on_receipt", date_draft=yesterday)
        assert InvoiceModel.objects.get(pk=invoice.pk).invoice_number == invoice.invoice_number
        return invoice

    return issue


@pytest.fixture
def approved(issue):
    invoice = issue()
    InvoiceModel.objects.update(invoice_status="approved", date_approved=invoice.date_draft)
    return InvoiceModel.objects.get()


def test_settings_are_right(komfortkasse):
    call_command("check", fail_level="WARNING")


def test_what_an_invoice_is(issue):
    assert issue("Berlin").invoice_number == issue("Vienna").invoice_number
    assert not InvoiceModel._meta.get_field("invoice_number").unique


def test_only_those_of_the_entity(issue, told):
    invoice, other = issue("Berlin"), issue("Vienna")
    for each in [other, invoice]:
        each.mark_as_canceled(commit=True)
    told(invoice.invoice_number, via="gone")


def test_a_cancellation(issue, told):
    invoice = issue()
    invoice.mark_as_canceled(commit=True)
    invoice.save()
    told(invoice.invoice_number, via="gone")


def test_a_cancellation_that_is_not_saved(issue, komfortkasse, mirror):
    """django-ledger sends a signal for it, and hides the errors of receivers."""
    called = []

    def receiver(instance, **kwargs):
        called.append(instance.invoice_status)
        raise RuntimeError

    invoice_status_canceled.connect(receiver)
    invoice = issue()
    invoice.mark_as_canceled()
    assert called == ["canceled"]
    assert InvoiceModel.objects.get().invoice_status == "draft"
    assert komfortkasse.calls == mirror() == []


def test_voiding(approved, told):
    entity = approved.ledger.entity
    approved.mark_as_void(entity_slug=entity.slug, user_model=entity.admin, commit=True)
    assert InvoiceModel.objects.get().invoice_status == "void"
    told(approved.invoice_number, via="gone")


def test_deleting_cancels(issue, told):
    invoice = issue()
    invoice.delete()
    assert InvoiceModel.objects.get().invoice_status == "canceled"
    told(invoice.invoice_number, via="gone")


def test_deleting_by_force(issue, told):
    invoice = issue()
    invoice.delete(force_db_delete=True)
    assert not InvoiceModel.objects.exists()
    told(invoice.invoice_number)


def test_many_are_deleted(issue, told):
    numbers = [issue().invoice_number, issue().invoice_number]
    InvoiceModel.objects.all().delete()
    assert not InvoiceModel.objects.exists()
    told(*numbers)


def test_a_number_that_lives_on_in_another_entity(issue, told):
    invoice = issue("Berlin")
    issue("Vienna")
    invoice.delete(force_db_delete=True)
    told(invoice.invoice_number)
