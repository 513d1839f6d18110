"""Finds orders that ended without a signal of Django, and orders that are alive again.

A walk looks at all orders of a shop, chunk by chunk, in the order of their primary keys. A dry run
first finds out whether the shop's own code fails for one of them, before anything is changed.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from komfortkasse_django import orders
from komfortkasse_django.conf import Shop
from komfortkasse_django.database import mirror_database, write_first
from komfortkasse_django.models import RemovedOrder, ShopState

State = RemovedOrder.State

_AT_ONCE = 1000  # rows written in one transaction
_NAMED = 10  # order numbers that are named, of each kind


class NotReconcilableError(Exception):
    """Why nothing was recorded, in words for people."""


@dataclass
class Numbers:
    """Order numbers: how many there are, and the first of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, numbers: Collection[str]) -> None:
        """Count some more."""
        self.count += len(numbers)
        self.first = [*self.first, *numbers][:_NAMED]


@dataclass
class Findings:
    """What there is to do for one shop, or was done.

    ``gone`` of all ``orders`` meet ``ORDER_GONE``. ``missing`` removals were never recorded.
    ``alive_again`` are the orders that are alive, but removed at Komfortkasse, and not marked yet.
    ``not_alive`` removals are marked as alive again, but are not any more.
    """

    orders: int = 0
    gone: int = 0
    missing: Numbers = field(default_factory=Numbers)
    alive_again: Numbers = field(default_factory=Numbers)
    not_alive: int = 0

    @property
    def is_all_done(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.missing.count or self.alive_again.count or self.not_alive)


def reconcile(
    shop: Shop,
    *,
    using: str,
    dry_run: bool = False,
    on_progress: Callable[[int], object] = lambda count: None,
) -> Findings:
    """Record the removals that are missing, and mark the orders that are alive again.

    What is recorded is due, and sent by the next push. A dry run changes nothing. Any number of
    these may run at once. ``using`` is the mirror's database; ``on_progress`` is told how many more
    orders were looked at.

    Raises ``NotReconcilableError``, and whatever the shop's own code raises.
    """
    return _Walk(shop, using, dry_run=dry_run).run(on_progress)


def orders_at(shop: Shop, *, using: str) -> str:
    """Return the database of the orders whose mirror is in the database ``using``.

    Raises ``NotReconcilableError`` if there are none: what is recorded would not be sent.
    """
    at = orders.database_of(shop, mirror_at=using)
    if (mirror := mirror_database(at)) != using:
        raise NotReconcilableError(
            _(
                'orders in database "%(orders)s" have their mirror in "%(mirror)s", not in'
                ' "%(using)s"'
            )
            % {"orders": at, "mirror": mirror, "using": using}
        )
    return at


class _Last(NamedTuple):
    """The last row of an order number."""

    key: int
    state: str
    requested_via: str
    is_marked: bool

    @property
    def is_refutable(self) -> bool:
        """Whether a living order with this number contradicts the row."""
        return self.state == State.REMOVED and self.requested_via in RemovedOrder.SUPERSEDABLE

    @property
    def is_refuted(self) -> bool:
        """Whether an order with this number was seen alive later."""
        return self.state == State.SUPERSEDED or self.is_marked


class _Walk:
    def __init__(self, shop: Shop, using: str, *, dry_run: bool) -> None:
        self.shop = shop
        self.using = using
        self.orders_at = orders_at(shop, using=using)
        self.dry_run = dry_run
        self.findings = Findings()
        self.rows = RemovedOrder.objects.using(using).filter(shop=shop.alias)
        # Numbers of living orders whose last row tells of their removal, with its key.
        self.living: dict[str, int] = {}
        # Numbers of gone orders whose last row was refuted by a living one.
        self.gone_again: dict[str, None] = {}
        # What a dry run would have recorded, if another order may have the same number.
        self.counted: set[str] = set()

    def run(self, on_progress: Callable[[int], object]) -> Findings:
        for chunk in orders.walk(self.shop, using=self.orders_at):
            self._look_at(chunk)
            on_progress(len(chunk))
        if self.findings.orders:
            # Only now is it known which numbers no living order has.
            numbers = [number for number in self.gone_again if number not in self.living]
            for start in range(0, len(numbers), _AT_ONCE):
                self._record(numbers[start : start + _AT_ONCE])
            self._unmark()
        elif self.rows.exists():
            raise NotReconcilableError(
                _('database "%(database)s" has no orders at all, though some were removed')
                % {"database": self.orders_at}
            )
        return self.findings

    def _look_at(self, chunk: list[orders.Found]) -> None:
        gone: dict[object, str] = {}
        alive: dict[object, str] = {}
        for key, value, is_gone in chunk:
            try:
                number = orders.clean_number(value)
            except ValueError:
                continue  # Komfortkasse cannot know it
            if number is not None:
                (gone if is_gone else alive)[key] = number
        self.findings.orders += len(chunk)
        self.findings.gone += len(gone)
        last = self._last_rows([*gone.values(), *alive.values()])
        self._look_at_living(alive, last)
        self._look_at_gone(gone, last)

    def _look_at_living(self, alive: dict[object, str], last: dict[str, _Last]) -> None:
        told = {
            key: number
            for key, number in alive.items()
            if (row := last.get(number)) and (row.is_refutable or row.state == State.SUPERSEDED)
        }
        living = {told[key] for key in orders.living(self.shop, told, using=self.orders_at)}
        new = sorted(living - self.living.keys())
        self.living |= {number: last[number].key for number in new}
        marked = [n for n in new if last[n].is_refutable and not last[n].is_marked]
        self.findings.alive_again.add(marked)
        if marked and not self.dry_run:
            keys = [last[number].key for number in marked]
            self.rows.filter(pk__in=keys).update(alive_again_at=timezone.now())

    def _look_at_gone(self, gone: dict[object, str], last: dict[str, _Last]) -> None:
        open_ = {
            key: number
            for key, number in gone.items()
            if number not in last or last[number].is_refuted
        }
        accepted = orders.accepted(self.shop, open_, using=self.orders_at)
        numbers = dict.fromkeys(number for key, number in open_.items() if key in accepted)
        self.gone_again |= {number: None for number in numbers if number in last}
        self._record([number for number in numbers if number not in last])

    def _last_rows(self, numbers: Collection[str]) -> dict[str, _Last]:
        # The shop is compared here: with it in the query, PostgreSQL may take an index by which it
        # finds all rows of the shop, for each chunk.
        rows = RemovedOrder.objects.using(self.using).filter(order_number__in=numbers)
        names = ("shop", "order_number", "pk", "state", "requested_via", "alive_again_at")
        return {
            number: _Last(key, state, via, since is not None)
            for shop, number, key, state, via, since in rows.order_by("pk").values_list(*names)
            if shop == self.shop.alias
        }

    def _record(self, numbers: list[str]) -> None:
        if self.dry_run and not self.shop.has_unique_numbers:
            numbers = [number for number in numbers if number not in self.counted]
            self.counted.update(numbers)
        if numbers and not self.dry_run:
            with _alone(self.shop.alias, self.using):
                last = self._last_rows(numbers)
                numbers = [n for n in numbers if n not in last or last[n].is_refuted]
                self.rows.record(
                    self.shop.alias, numbers, requested_via=RemovedOrder.RequestedVia.RECONCILE
                )
        self.findings.missing.add(numbers)

    def _unmark(self) -> None:
        marked = self.rows.exclude(alive_again_at=None).values_list("pk", "order_number")
        keys = [key for key, number in marked.iterator() if self.living.get(number) != key]
        self.findings.not_alive = len(keys)
        if not self.dry_run:
            for start in range(0, len(keys), _AT_ONCE):
                some = self.rows.filter(pk__in=keys[start : start + _AT_ONCE])
                some.update(alive_again_at=None)


@contextmanager
def _alone(shop: str, using: str) -> Iterator[None]:
    """A transaction in which no other reconciliation of the shop looks up and records."""
    states = ShopState.objects.using(using)
    if not states.filter(pk=shop).exists():
        states.bulk_create([ShopState(shop=shop)], ignore_conflicts=True)
    with transaction.atomic(using):
        write_first(using, RemovedOrder)
        states.select_for_update().get(pk=shop)
        yield
