from salesman.checkout.payment import PaymentMethod
from salesman.core.utils import get_salesman_model


class Prepayment(PaymentMethod):
    identifier = "prepayment"
    label = "Prepayment"

    def basket_payment(self, basket, request):
        return place(basket, request, self)


class CreditCard(PaymentMethod):
    identifier = "card"
    label = "Credit card"

    def basket_payment(self, basket, request):
        return place(basket, request, self)

    def refund_payment(self, payment):
        return True


def place(basket, request, method):
    basket.extra["payment_method"] = method.identifier
    order = get_salesman_model("Order").objects.create_from_basket(basket, request, status="HOLD")
    basket.delete()
    return order.ref
