"""What an order app of one's own changes: numbers, cascades, the admin."""

import pytest
from company.models import Company
from django.apps import apps
from django.contrib.admin import site
from django.core.management import call_command
from django.utils import timezone
from oscar.core.loading import get_class, get_model
from oscar.test import factories

from komfortkasse_django.models import RemovedOrder
from tests.shops.page import Page

Order = get_model("order", "Order")


@pytest.fixture
def place(komfortkasse):
    """Place an order as the checkout does, which asks the fork for a number."""

    def place(company=None, method="Prepayment"):
        product = factories.create_product(price=10, num_in_stock=10)
        basket = factories.BasketFactory()
        basket.add_product(product)
        number = get_class("order.utils", "OrderNumberGenerator")().order_number(basket)
        order = factories.create_order(number=number, basket=basket, company=company)
        source_type, _ = get_model("payment", "SourceType").objects.get_or_create(name=method)
        order.sources.create(source_type=source_type)
        return order

    return place


def test_the_label_is_that_of_the_fork(migrated):
    assert apps.get_model("order.Order").__module__ == "forked.order.models"


def test_a_number_of_the_fork_s_own(place, told):
    order = place()
    assert order.number.startswith("F/10")
    order.delete()
    told(order.number)


def test_a_cascade(place, told, komfortkasse):
    company = Company.objects.create(name="Example")
    numbers = [place(company).number for _ in range(3)]
    place(company, "Credit card")
    place()
    company.delete()
    assert Order.objects.count() == 1
    told(*numbers)


def test_a_cascade_while_komfortkasse_is_down(place, told, komfortkasse, mirror):
    company = Company.objects.create(name="Example")
    numbers = [place(company).number for _ in range(2)]
    komfortkasse.down = True
    Company.objects.all().delete()
    assert mirror() == [(number, "pending") for number in numbers]
    komfortkasse.reset()
    RemovedOrder.objects.update(next_attempt_at=timezone.now(), attempts=0)
    call_command("komfortkasse_push", verbosity=0)
    told(*numbers)


def test_the_fork_s_own_action_and_admin_stay(place, staff):
    place()
    page = Page.open(staff, "/admin/order/order/")
    assert "1 approved" in page.act("Approve", Order.objects.all()).text
    admin_class = type(site.get_model_admin(Order))
    assert f"{admin_class.__module__}.{admin_class.__name__}" == "forked.order.admin.OrderAdmin"
