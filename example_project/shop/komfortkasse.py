"""What the shop decides about Komfortkasse; ``KOMFORTKASSE`` in the settings names it."""

from shop.models import Order


def is_managed(order: Order) -> bool:
    """Whether Komfortkasse waits for the order's money: credit cards and PayPal pay at once."""
    return order.payment_method in {Order.PaymentMethod.PREPAYMENT, Order.PaymentMethod.INVOICE}
