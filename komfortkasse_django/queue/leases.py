"""A row is claimed for a while and written back only while it is still held.

The life of a lease: ``claim`` moves ``next_attempt_at`` to the end of the lease, in a short
transaction. HTTP happens outside. ``settle`` writes the row back, but only where
``next_attempt_at`` is still what the claim wrote. A killed worker's rows become due again when
their leases end, and a worker that lost its lease cannot overwrite the result of the next one.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, connections, transaction
from django.db.models import F
from django.utils import timezone

from komfortkasse_django.database import FIRST_WAIT, patiently, refuses_data, write_first
from komfortkasse_django.exceptions import UNFORESEEN
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet, get_field
from komfortkasse_django.queue.outcomes import TEXTS, postpone, take_over
from komfortkasse_django.queue.updates import update

logger = logging.getLogger("komfortkasse_django")

_ANSWERED = (*TEXTS, "amount", "amount_paid", "dunning_level")
_SETTLED = (
    *("attempts", "next_attempt_at", "state", "error_code", "last_error", "finished_at"),
    *("settled_at", *_ANSWERED),
)
_PUT_OFF = ("next_attempt_at", "error_code", "last_error")
_MOST_OTHERS = 100  # rows of one number; a shop may give thousands of orders the same


@dataclass(slots=True, eq=False)
class Lease:
    """A claimed row. Change the row, then ``settle`` the lease."""

    row: RemovedOrder
    due_at: datetime | None
    """``next_attempt_at`` before the claim."""
    stored: datetime | None
    """``next_attempt_at`` as this worker wrote it: the proof that the row is still held."""
    others: Sequence[int] = ()
    """The primary keys of the other rows of the same shop and number, as far as they are known."""
    as_claimed: Mapping[str, Any] = field(default_factory=dict)
    """The values of the row as the claim left them, as far as they are known."""

    def give_back(self) -> None:
        """Make the row what it was before the claim."""
        self.row.attempts -= 1
        self.row.next_attempt_at = self.due_at


def claim(
    due: RemovedOrderQuerySet, *, at_most: int, seconds: float, newest_first: bool = False
) -> tuple[list[Lease], bool]:
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
    due = due.order_by("-next_attempt_at" if newest_first else "next_attempt_at")
    candidates = due[:at_most]
    seen = None
    if connection.vendor == "mysql":
        # It locks each row that it examines, perhaps all that are due. Then no other worker would
        # find any. So the rows are found without locks, and locked by their keys.
        keys = list(candidates.values_list("pk", flat=True))
        candidates = due.filter(pk__in=keys)
        seen = len(keys)
    with transaction.atomic(using, durable=True):
        write_first(using, RemovedOrder)
        skip_locked = connection.features.has_select_for_update_skip_locked
        leases = _lease(candidates.select_for_update(skip_locked=skip_locked), seconds)
        # Before the commit: if this fails, nothing is claimed.
        _find_others(leases, using)
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
    for lease in leases:
        lease.as_claimed = vars(lease.row).copy()
    if rows:
        claimed = RemovedOrder.objects.using(candidates.db).filter(pk__in=[row.pk for row in rows])
        claimed.update(attempts=F("attempts") + 1, next_attempt_at=until)
    return leases


def _find_others(leases: Sequence[Lease], using: str) -> None:
    """See which other rows have the same shop and number. Most orders have none."""
    by_number: dict[tuple[str, str], list[tuple[bool, int]]] = defaultdict(list)
    numbers = {lease.row.order_number for lease in leases}
    # The shop is looked at here, so that every database takes the index on the number.
    rows = RemovedOrder.objects.using(using).filter(order_number__in=numbers)
    for shop, number, state, key in rows.values_list("shop", "order_number", "state", "pk"):
        by_number[shop, number].append((state == RemovedOrder.State.REMOVED, key))
    for lease in leases:
        found = sorted(by_number[lease.row.shop, lease.row.order_number])
        lease.others = [key for _removed, key in found[-_MOST_OTHERS:] if key != lease.row.pk]


def settle(leases: Sequence[Lease], *, using: str, until: float = 0.0) -> list[Lease]:
    """Write the rows back and return the leases that were still held; the others change nothing.

    While the database cannot be used, it is tried again, until ``until`` on the monotonic clock, in
    seconds. A column is left blank only where the database cannot hold its value. A row that cannot
    be stored for another reason, such as a constraint of the shop, is put off with that reason.
    Raises ``DatabaseUnavailable``, and ``RuntimeError`` inside a transaction.
    """
    if not leases:
        return []
    try:
        if _commit(leases, _SETTLED, using, until):
            return list(leases)
    except (DatabaseError, UnicodeError):
        pass  # logged below, for the row that is to blame
    # Only one by one can it be seen which of them were lost or cannot be stored.
    return [lease for lease in leases if _settle_alone(lease, using, until)]


def _settle_alone(lease: Lease, using: str, until: float) -> bool:
    try:
        try:
            is_held = _commit([lease], _SETTLED, using, until)
        except (DatabaseError, UnicodeError) as error:
            if not refuses_data(error):
                raise
            logger.exception("Order %s: the database refuses a part of the answer", lease.row)
            _blank_refused(lease, using, until)
            is_held = _commit([lease], _SETTLED, using, until)
        return is_held or patiently(lambda: _is_written(lease, using), using=using, until=until)
    except (DatabaseError, UnicodeError) as error:
        logger.exception("Order %s: the answer cannot be stored; it will be sent again", lease.row)
        _put_off(lease, error, using, until)
        return False


def _put_off(lease: Lease, error: Exception, using: str, until: float) -> None:
    """Leave the row as it was, but store why. Each time it waits longer until it is sent again."""
    row = RemovedOrder(pk=lease.row.pk, attempts=lease.row.attempts)
    postpone(row)
    row.error_code = UNFORESEEN
    row.last_error = f"The answer cannot be stored: {type(error).__name__}"
    with suppress(DatabaseError):  # then the row is due when its lease ends
        _commit([Lease(row, None, lease.stored)], _PUT_OFF, using, until)


def _is_written(lease: Lease, using: str) -> bool:
    """Whether the row was written, but the connection broke before the database could say so."""
    row = lease.row
    names = ("pk", "attempts", "state", "next_attempt_at", "finished_at")
    written = {name: getattr(row, name) for name in names}
    return RemovedOrder.objects.using(using).filter(**written).exists()


def _blank_refused(lease: Lease, using: str, until: float) -> None:
    """Blank what the database refuses of a row."""
    for name in (*_ANSWERED, "last_error"):
        if not _is_changed(lease, name):
            continue
        try:
            _commit([lease], [name], using, until, keep=False)
        except (DatabaseError, UnicodeError) as error:
            if not refuses_data(error):
                raise
            text = ascii(lease.row.last_error)[1:-1]
            setattr(
                lease.row, name, text if name == "last_error" else get_field(name).get_default()
            )


def _commit(
    leases: Sequence[Lease], names: Sequence[str], using: str, until: float, *, keep: bool = True
) -> bool:
    """Write all the rows, or none if one is not held any more. Without ``keep``, only try it."""

    def write() -> bool:
        with transaction.atomic(using, durable=True):
            _make_one_case(leases, using)
            are_held = _write(leases, names, using) == len(leases)
            transaction.set_rollback(not (are_held and keep), using)
        return are_held

    return patiently(write, using=using, until=until)


def _make_one_case(leases: Sequence[Lease], using: str) -> None:
    """If several rows of a number are removed, leave only the newest for a person to settle."""
    groups: dict[tuple[str, str], list[Lease]] = defaultdict(list)
    for lease in leases:
        row = lease.row
        if row.state == RemovedOrder.State.REMOVED and (
            lease.others or row.has_money or row.is_at_agency
        ):
            groups[row.shop, row.order_number].append(lease)
    if not groups:
        return
    write_first(using, RemovedOrder)
    rows = RemovedOrder.objects.using(using)
    # All are locked, and in one order: another worker may be settling another row of a number.
    removed = [lease for same in groups.values() for lease in same]
    keys = _keys_of_cases(removed)
    locked = _lock(rows, keys)
    # What was recorded after the claim may have been removed before. It knew of these rows, so from
    # now on it waits for their locks.
    _find_others(removed, using)
    if new := _keys_of_cases(removed) - keys:
        locked += _lock(rows, new)
    closed: list[int] = []
    for number, same in groups.items():
        now_removed = sorted((lease.row for lease in same), key=lambda row: row.pk)
        earlier = [
            row
            for row in locked
            if (row.shop, row.order_number) == number
            and row.state == RemovedOrder.State.REMOVED
            and row not in now_removed
        ]
        closed += [row.pk for row in take_over(now_removed, earlier)]
    rows.filter(pk__in=closed).update(settled_at=timezone.now())


def _keys_of_cases(leases: Sequence[Lease]) -> set[int]:
    return {key for lease in leases for key in (lease.row.pk, *lease.others)}


def _lock(rows: RemovedOrderQuerySet, keys: Iterable[int]) -> list[RemovedOrder]:
    return list(rows.filter(pk__in=keys).order_by("pk").select_for_update())


def _write(leases: Sequence[Lease], names: Iterable[str], using: str) -> int:
    """Write those of ``names`` that changed, and return how many of the rows were still held."""
    alike: dict[tuple[str, ...], list[Lease]] = defaultdict(list)
    for lease in leases:
        alike[tuple(name for name in names if _is_changed(lease, name))].append(lease)
    return sum(
        update([(lease.row, lease.stored) for lease in same], changed, using=using)
        for changed, same in alike.items()
    )


def _is_changed(lease: Lease, name: str) -> bool:
    # A person may have settled the row since the claim, and the answer may open the case again.
    if name == "settled_at" or name not in lease.as_claimed:
        return True
    return bool(getattr(lease.row, name) != lease.as_claimed[name])
