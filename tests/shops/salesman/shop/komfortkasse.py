from komfortkasse_django.removals import remove


def is_paid_by_transfer(order):
    methods = {payment.payment_method for payment in order.payments.all()}
    return (methods or {order.extra.get("payment_method")}) == {"prepayment"}


def remove_cancelled(sender, order, new_status, **kwargs):
    if new_status == order.Status.CANCELLED:
        remove(order)
