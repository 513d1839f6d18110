"""The signals of this app. Both are sent with ``send_robust`` after the row is saved."""

from django.dispatch import Signal

order_removed = Signal()
"""Komfortkasse confirmed a removal.

``sender`` is ``RemovedOrder``, ``removed_order`` the saved row and ``order`` Komfortkasse's whole
answer, a ``komfortkasse_django.schema.Order``. The answer holds personal data: keep it only as
long as you need it.
"""

removal_failed = Signal()
"""Komfortkasse refused a removal for good: a person has to look.

``sender`` is ``RemovedOrder``, ``removed_order`` the saved row and ``error`` the
``komfortkasse_django.exceptions.KomfortkasseError``.
"""
