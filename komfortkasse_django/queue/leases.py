"""The queue's mechanics: a row is claimed for a while and written back only while it is still held.

A claim moves ``next_attempt_at`` to the end of the lease, so the rows of a killed worker simply
become due again. Every write requires the ``next_attempt_at`` that was written last, so a worker
that lost its lease cannot overwrite its successor.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError, connections, transaction
from django.utils import timezone

from komfortkasse_django.database import FIRST_WAIT, patiently, will_pass, write_first
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet, get_field

logger = logging.getLogger("komfortkasse_django")

_CLAIMED = ("attempts", "next_attempt_at")
_ANSWERED = ("payment_status", "reference_number", "amount", "amount_paid", "currency")
_SETTLED = (*_CLAIMED, *_ANSWERED, "state", "last_error", "finished_at")


@dataclass(slots=True, eq=False)
class Lease:
    """A claimed row. Change the row, then ``settle`` the lease."""

    row: RemovedOrder
    due_at: datetime | None
    """``next_attempt_at`` before the claim."""
    stored: datetime | None
    """``next_attempt_at`` as this worker wrote it: the proof that the row is still held."""

    def give_back(self) -> None:
        """Make the row what it was before the claim."""
        self.row.attempts -= 1
        self.row.next_attempt_at = self.due_at


def claim(due: RemovedOrderQuerySet, *, at_most: int, seconds: float) -> tuple[list[Lease], bool]:
    """Claim up to ``at_most`` rows of ``due`` for ``seconds``, the longest due first.

    Return the leases and whether more rows may be due. Raises ``RuntimeError`` inside a
    transaction, where a claim would not be visible to other workers.
    """
    using = due.db
    connection = connections[using]
    if not connection.in_atomic_block and not connection.get_autocommit():
        raise RuntimeError(
            f"Database {using!r} is in a transaction that is managed by hand; commit it and switch"
            " autocommit on."
        )
    candidates = due.order_by("next_attempt_at")[:at_most]
    seen = None
    if connection.vendor == "mysql":
        # It locks each row that it examines, and may well examine all that are due: no other
        # worker would find any. So the rows are found without locks, and locked by their keys.
        keys = list(candidates.values_list("pk", flat=True))
        candidates = due.filter(pk__in=keys).order_by("next_attempt_at")
        seen = len(keys)
    with transaction.atomic(using, durable=True):
        write_first(using, RemovedOrder)
        skip_locked = connection.features.has_select_for_update_skip_locked
        leases = _lease(candidates.select_for_update(skip_locked=skip_locked), seconds)
        _write(leases, _CLAIMED, using)
    if seen and not leases:
        time.sleep(FIRST_WAIT)  # another worker is claiming the same rows
    return leases, (len(leases) if seen is None else seen) == at_most


def _lease(candidates: RemovedOrderQuerySet, seconds: float) -> list[Lease]:
    rows = list(candidates)
    until = timezone.now() + timedelta(seconds=seconds)
    leases = [Lease(row, due_at=row.next_attempt_at, stored=until) for row in rows]
    for row in rows:
        row.attempts += 1
        row.next_attempt_at = until
    return leases


def settle(leases: Sequence[Lease], *, using: str, until: float = 0.0) -> list[Lease]:
    """Write the rows back and return the leases that were still held; the others change nothing.

    What the database cannot hold of an answer is left blank, so that the outcome is kept. While
    the database is not to be had, it is tried again as by ``patiently``. Raises ``RuntimeError``
    inside a transaction.
    """
    if not leases:
        return []
    try:
        if _commit(leases, using, until):
            return list(leases)
    except DatabaseError as error:
        if will_pass(error, using):
            raise
    # Which of them were lost or cannot be stored can only be told one by one.
    return [lease for lease in leases if _settle_alone(lease, using, until)]


def _settle_alone(lease: Lease, using: str, until: float) -> bool:
    row = lease.row
    try:
        return _commit([lease], using, until)
    except DatabaseError as error:
        if will_pass(error, using):
            raise
        logger.exception("Order %s: Komfortkasse's answer cannot be stored, only its outcome", row)
    for name in _ANSWERED:
        setattr(row, name, get_field(name).get_default())
    row.last_error = ascii(row.last_error)[1:-1]
    try:
        return _commit([lease], using, until)
    except DatabaseError as error:
        if will_pass(error, using):
            raise
        logger.exception("Order %s: nothing can be stored; it will be sent again", row)
        return False


def _commit(leases: Sequence[Lease], using: str, until: float) -> bool:
    """Write all the rows, or none because not all are still held."""

    def write() -> bool:
        with transaction.atomic(using, durable=True):
            are_held = _write(leases, _SETTLED, using, only_held=True) == len(leases)
            transaction.set_rollback(not are_held, using)
        return are_held

    return patiently(write, using=using, until=until)


def _write(
    leases: Sequence[Lease], names: Iterable[str], using: str, *, only_held: bool = False
) -> int:
    """Write ``names`` of the rows and return how many were written.

    One statement for all of them instead of a queryset each: settling row by row through the ORM
    costs more than the HTTP call.
    """
    if not leases:
        return 0
    connection = connections[using]
    quote = connection.ops.quote_name
    fields = [get_field(name) for name in names]
    held = get_field("next_attempt_at")
    assignments = ", ".join(f"{quote(each.name)} = %s" for each in fields)
    sql = (
        f"UPDATE {quote(RemovedOrder._meta.db_table)} SET {assignments}"  # noqa: S608
        f" WHERE {quote('id')} = %s"
    )
    if only_held:
        sql += f" AND {quote(held.name)} = %s"
    parameters = [
        [
            *(each.get_db_prep_save(getattr(lease.row, each.name), connection) for each in fields),
            lease.row.pk,
            *([held.get_db_prep_save(lease.stored, connection)] if only_held else []),
        ]
        for lease in leases
    ]
    with connection.cursor() as cursor:
        cursor.executemany(sql, parameters)
        written: int = cursor.rowcount
    return written
