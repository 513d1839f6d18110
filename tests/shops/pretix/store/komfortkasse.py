from django_scopes import scopes_disabled

from komfortkasse_django.removals import remove


def is_of_berlin(order):
    return _is_paid_by_transfer_to(order, "berlin")


def is_of_vienna(order):
    return _is_paid_by_transfer_to(order, "vienna")


def _is_paid_by_transfer_to(order, organizer):
    if order.event.organizer.slug != organizer:
        return False
    with scopes_disabled():
        providers = {payment.provider for payment in order.payments.all()}
    # None: pretix deletes the payments before the order.
    return not providers or "banktransfer" in providers


def remove_cancelled(sender, order, **kwargs):
    if order.status == order.STATUS_CANCELED:  # or else a fee is still to be paid
        remove(order)
