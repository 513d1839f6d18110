from komfortkasse_django.removals import remove


def is_paid_by_transfer(order):
    return order.sources.filter(source_type__code__in=["prepayment", "invoice"]).exists()


def remove_cancelled(sender, order, new_status, **kwargs):
    if new_status == "Cancelled":
        remove(order)
