"""The shop's functions for the setting ``KOMFORTKASSE``."""

from shop.models import Order


def is_managed(order: Order) -> bool:
    """Whether Komfortkasse waits for a payment. Credit cards and PayPal pay at once."""
    return order.payment_method in {Order.PaymentMethod.PREPAYMENT, Order.PaymentMethod.INVOICE}
