"""How things stand: what the whole mirror says, read in one place for the admin and monitoring."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from django.db.models import Count, Max, Min, Q, Sum
from django.utils import timezone

from komfortkasse_django.conf import shops
from komfortkasse_django.exceptions import AuthenticationFailed
from komfortkasse_django.models import (
    ALL_UNKNOWN,
    AT_AGENCY,
    HAS_MONEY,
    OVERDUE_AFTER,
    RemovedOrder,
    RemovedOrderQuerySet,
    ShopState,
)

State = RemovedOrder.State


class Kind(StrEnum):
    """What can be wrong with a shop, the worst first."""

    WRONG_KEY = AuthenticationFailed.code
    ALL_UNKNOWN = "all_unknown"
    NOT_IN_SETTINGS = "not_in_settings"
    OVERDUE = "overdue"
    FAILED = "failed"


@dataclass(kw_only=True)
class Problem:
    """What somebody has to look at, of one shop."""

    kind: Kind
    shop: str
    since: datetime
    count: int
    """How many removals it is about."""


@dataclass(kw_only=True)
class Overdue:
    """The overdue removals of one shop."""

    count: int
    since: datetime
    """When the first of them was asked for."""
    is_long_due: bool
    """Whether one could have been sent all that time, so that nobody seems to run what sends it."""


class Status(NamedTuple):
    """What the mirror says. Mappings without another key are by alias."""

    counts: Mapping[str, Mapping[str, int]]
    """By alias and state, how many removals are in it."""
    due: int
    """Removals whose time has come, also those that a pause or the settings hold back."""
    oldest_due_at: datetime | None
    to_do: int
    """Removals that a person has to look at."""
    asked_since: Mapping[tuple[str, str], datetime]
    """By state and alias, when the first removal was asked for that is pending or failed now."""
    overdue: Mapping[str, Overdue]
    all_unknown_since: Mapping[str, datetime]
    """Since when Komfortkasse knows none of the orders."""
    refunds: Mapping[str, tuple[int, Decimal]]
    """By currency, how many removals have money that is still to be refunded, and how much."""
    at_agency: int
    """How many were removed while a collection agency was at work, which nobody has settled."""
    alive_again: int
    """How many orders are alive in the shop although they were removed, and nobody has settled."""
    last_removed_at: datetime | None
    failing: Mapping[str, ShopState]
    """The states of the shops whose last call failed."""
    pauses: Mapping[str, ShopState]
    """The states of the shops that are paused."""
    read_at: datetime

    def in_state(self, state: str) -> int:
        """How many removals are in the state, in all shops."""
        return sum(states.get(state, 0) for states in self.counts.values())

    @property
    def overdue_count(self) -> int:
        """How many removals are overdue, in all shops."""
        return sum(overdue.count for overdue in self.overdue.values())

    @property
    def ok(self) -> bool:
        """Whether nobody has to look."""
        return not self.problems

    @property
    def problems(self) -> list[Problem]:
        """What somebody has to look at, the worst first."""
        order = list(Kind)
        found = [problem for alias in self.counts for problem in _problems(self, alias)]
        return sorted(found, key=lambda each: (order.index(each.kind), -each.count))


def _problems(status: Status, alias: str) -> Iterator[Problem]:
    def problem(kind: Kind, count: int, since: datetime | None) -> Problem:
        return Problem(kind=kind, shop=alias, count=count, since=since or status.read_at)

    pending, failed = (status.counts[alias][state] for state in (State.PENDING, State.FAILED))
    shop, failing = shops().get(alias), status.failing.get(alias)
    is_on = shop is not None and shop.enabled
    if shop is None and pending:
        since = status.asked_since.get((State.PENDING, alias))
        yield problem(Kind.NOT_IN_SETTINGS, pending, since)
    elif is_on and failing and failing.error_code == Kind.WRONG_KEY:
        yield problem(Kind.WRONG_KEY, pending, failing.failing_since)
    elif overdue := status.overdue.get(alias):
        yield problem(Kind.OVERDUE, overdue.count, overdue.since)
    if is_on and alias in status.all_unknown_since:
        yield problem(Kind.ALL_UNKNOWN, ALL_UNKNOWN, status.all_unknown_since[alias])
    if failed:
        yield problem(Kind.FAILED, failed, status.asked_since.get((State.FAILED, alias)))


def read_status(using: str, max_age: timedelta = OVERDUE_AFTER) -> Status:
    """Read it from the database ``using``. Raises what the database raises.

    ``max_age`` is how long after it was asked for a pending removal is overdue.
    """
    now = timezone.now()
    rows = RemovedOrder.objects.using(using)
    counts, last_removed_at = _counts(rows)
    due = rows.filter(next_attempt_at__lte=now).aggregate(
        count=Count("pk"), oldest=Min("next_attempt_at")
    )
    overdue = _overdue(rows, now, max_age)
    refunds, cases = _unsettled(rows)
    # The number of to_do(): these are different rows.
    to_do = sum(states[State.FAILED] for states in counts.values())
    to_do += sum(each.count for each in overdue.values()) + cases["all"]
    shop_states = ShopState.objects.using(using).in_bulk()
    return Status(
        counts=counts,
        due=due["count"],
        oldest_due_at=due["oldest"],
        to_do=to_do,
        asked_since=_asked_since(rows),
        overdue=overdue,
        all_unknown_since=_all_unknown_since(
            rows,
            [alias for alias, states in counts.items() if states[State.UNKNOWN] >= ALL_UNKNOWN],
        ),
        refunds=refunds,
        at_agency=cases["at_agency"],
        alive_again=cases["alive_again"],
        last_removed_at=last_removed_at,
        failing={alias: state for alias, state in shop_states.items() if state.failures},
        pauses={
            alias: state
            for alias, state in shop_states.items()
            if state.paused_until and state.paused_until > now
        },
        read_at=now,
    )


def _counts(rows: RemovedOrderQuerySet) -> tuple[dict[str, dict[str, int]], datetime | None]:
    """By alias and state, how many rows there are; and when the last one was removed."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(State.values, 0))
    for alias in shops():
        counts[alias]  # also where nothing has been removed yet
    removed_at = []
    # In the order of an index, so that the table itself is not read.
    by_state = rows.order_by("state", "shop").values_list("state", "shop")
    for state, shop, count, finished_at in by_state.annotate(Count("pk"), Max("finished_at")):
        counts[shop][state] = count
        if state == State.REMOVED and finished_at:
            removed_at.append(finished_at)
    return dict(counts), max(removed_at, default=None)


def _overdue(rows: RemovedOrderQuerySet, now: datetime, max_age: timedelta) -> dict[str, Overdue]:
    by_shop = rows.overdue(max_age).order_by("shop").values_list("shop")
    return {
        alias: Overdue(
            count=count, since=since, is_long_due=first is not None and first < now - max_age
        )
        for alias, count, since, first in by_shop.annotate(
            Count("pk"), Min("created_at"), Min("next_attempt_at")
        )
    }


def _asked_since(rows: RemovedOrderQuerySet) -> dict[tuple[str, str], datetime]:
    unfinished = rows.filter(state__in=(State.PENDING, State.FAILED)).order_by("state", "shop")
    by_state = unfinished.values_list("state", "shop")
    return {(state, shop): first for state, shop, first in by_state.annotate(Min("created_at"))}


def _unsettled(
    rows: RemovedOrderQuerySet,
) -> tuple[dict[str, tuple[int, Decimal]], Counter[str]]:
    """The refunds, as in ``Status``, and how many rows a person has to settle, by why."""
    refunds: dict[str, tuple[int, Decimal]] = {}
    cases: Counter[str] = Counter()
    to_refund = Q(HAS_MONEY, settled_at=None)
    groups = rows.unsettled().order_by("currency").values_list("currency")
    for currency, count, refund_count, amount, at_agency, alive_again in groups.annotate(
        Count("pk"),
        refund_count=Count("pk", filter=to_refund),
        amount=Sum("amount_paid", filter=to_refund),
        at_agency=Count("pk", filter=Q(AT_AGENCY, settled_at=None)),
        alive_again=Count("alive_again_at"),
    ):
        cases.update(all=count, at_agency=at_agency, alive_again=alive_again)
        if refund_count:
            refunds[currency] = refund_count, amount
    return refunds, cases


def _all_unknown_since(rows: RemovedOrderQuerySet, aliases: Iterable[str]) -> dict[str, datetime]:
    """Since when the last ten finished removals of a shop are all unknown, where they are."""
    since: dict[str, datetime] = {}
    for alias in aliases:
        times = rows.unknown_in_a_row(alias).values_list("finished_at", flat=True)
        since.update((alias, tenth) for tenth in times[ALL_UNKNOWN - 1 : ALL_UNKNOWN] if tenth)
    return since


def read_pauses(using: str) -> dict[str, ShopState]:
    """The states of the shops that are paused now, by alias."""
    return ShopState.objects.using(using).paused().in_bulk()
