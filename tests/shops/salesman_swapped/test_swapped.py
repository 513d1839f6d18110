"""What an Order model of one's own changes."""

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from salesman.core.utils import get_salesman_model
from swapped.models import Company, Order

pytestmark = pytest.mark.usefixtures("komfortkasse")


def order(ref, company=None, method="prepayment"):
    return Order.objects.create(ref=ref, company=company, _extra={"payment_method": method})


def test_the_order_is_the_shop_s_own():
    assert get_salesman_model("Order") is Order
    assert order("1001").payments.model._meta.label == "salesmanorders.OrderPayment"


def test_the_label_of_the_model_that_is_swapped_out(settings):
    shop = {**settings.KOMFORTKASSE["default"], "ORDER_MODEL": "salesmanorders.Order"}
    settings.KOMFORTKASSE = {"default": shop}
    with pytest.raises(
        SystemCheckError, match=r"Write 'swapped\.Order', as in SALESMAN_ORDER_MODEL"
    ):
        call_command("check")


def test_a_cascade(told):
    company = Company.objects.create(name="Example")
    order("1001", company)
    order("1002", company)
    order("1003", company, "card")
    order("1004")
    company.delete()
    assert Order.objects.get().ref == "1004"
    told("1001", "1002")
