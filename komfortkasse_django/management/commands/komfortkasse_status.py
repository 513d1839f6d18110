"""``manage.py komfortkasse_status``: is anything wrong? For people and for monitoring."""

import json
import sys
from argparse import ArgumentParser
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.management.base import BaseCommand, CommandError
from django.db import router
from django.db.models import Count, Max, Min
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, npgettext, pgettext

from komfortkasse_django.conf import shops
from komfortkasse_django.management.arguments import add_database, positive_integer
from komfortkasse_django.management.base import missing_in
from komfortkasse_django.models import OVERDUE_AFTER, RemovedOrder
from komfortkasse_django.reports.status import pauses
from komfortkasse_django.reports.wording import obstacle

State = RemovedOrder.State


@dataclass(frozen=True)
class Status:
    """What the mirror says of itself."""

    counts: dict[str, dict[str, int]]
    """Alias -> state -> how many removals are in it."""
    due: int
    """Removals whose time has come, also those that a pause or the settings keep waiting."""
    overdue: int
    """Removals that have been pending for longer than is tolerable."""
    oldest_due_at: datetime | None
    last_removed_at: datetime | None
    paused_until: dict[str, datetime]
    """Alias of each shop that Komfortkasse asked to leave alone -> until when."""
    read_at: datetime

    @property
    def failed(self) -> int:
        """Removals that Komfortkasse refused."""
        return sum(states[State.FAILED] for states in self.counts.values())

    @property
    def ok(self) -> bool:
        """Whether nobody has to look."""
        return not (self.overdue or self.failed)


class Command(BaseCommand):
    help = (
        "Say how many removals are in which state. Exits with 1 when one is overdue or was refused"
        " by Komfortkasse, with 2 when that cannot be told. Removals of a shop that Komfortkasse"
        " asked to leave alone for a while, that is switched off or that KOMFORTKASSE no longer"
        " names become overdue like any other: nobody sends them."
    )
    requires_system_checks = ()  # a broken setting must not be taken for an overdue removal

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="write one JSON object")
        parser.add_argument(
            "--max-age",
            metavar="MINUTES",
            type=positive_integer,
            default=OVERDUE_AFTER // timedelta(minutes=1),
            help="a removal is overdue when it has been due for longer; 60 by default. Whatever"
            " is not confirmed within a day, or in MINUTES if that is longer, is overdue as well",
        )
        add_database(parser)

    def handle(
        self,
        *,
        json: bool,
        max_age: int,
        database: str | None,
        **options: object,
    ) -> None:
        try:
            using = database or router.db_for_write(RemovedOrder)
            status = read_status(using, timedelta(minutes=max_age))
        except Exception as error:
            # Whatever it was: an exit code of 1 would say something else.
            raise CommandError(
                _("The state of the removals cannot be told: %(error)s")
                % {"error": missing_in(database) or error},
                returncode=2,
            ) from error
        self.stdout.write(_as_json(status) if json else _as_text(status))
        if not status.ok:
            sys.exit(1)


def read_status(using: str, max_age: timedelta) -> Status:
    """Read it from the database ``using``. Raises what the database raises."""
    now = timezone.now()
    rows = RemovedOrder.objects.using(using)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(State.values, 0))
    for alias in shops():
        counts[alias]  # also where nothing has been removed yet
    removed_at = []
    # In the order of the index, which spares reading the table.
    by_state = rows.order_by("state", "shop").values_list("state", "shop")
    for state, shop, count, finished_at in by_state.annotate(Count("pk"), Max("finished_at")):
        counts[shop][state] = count
        if state == State.REMOVED:
            removed_at.append(finished_at)
    due = rows.filter(next_attempt_at__lte=now).aggregate(
        count=Count("pk"),
        oldest=Min("next_attempt_at"),
    )
    return Status(
        counts=dict(counts),
        due=due["count"],
        overdue=rows.overdue(max_age).count(),
        oldest_due_at=due["oldest"],
        last_removed_at=max(removed_at, default=None),
        paused_until=pauses(using),
        read_at=now,
    )


def _as_json(status: Status) -> str:
    oldest = status.oldest_due_at
    return json.dumps(
        {
            "ok": status.ok,
            "due": status.due,
            "overdue": status.overdue,
            "oldest_due_seconds": oldest and (status.read_at - oldest).total_seconds(),
            "last_removed_at": status.last_removed_at and status.last_removed_at.isoformat(),
            "shops": status.counts,
        }
    )


def _as_text(status: Status) -> str:
    labels = dict(State.choices)
    lines = [_headline(status)]
    for alias, states in status.counts.items():
        parts = [f"{count} {labels.get(state, state)}" for state, count in states.items() if count]
        numbers = ", ".join(parts) or pgettext("komfortkasse", "no removals")
        reason = obstacle(alias, status.paused_until)
        lines.append(": ".join(filter(None, (alias, numbers, reason))))
    return "\n".join(lines)


def _headline(status: Status) -> str:
    """One line that a monitoring system can show."""
    parts = []
    if status.overdue:
        text = npgettext(
            "komfortkasse",
            "%(count)d removal is overdue",
            "%(count)d removals are overdue",
            status.overdue,
        )
        parts.append(text % {"count": status.overdue})
    if status.failed:
        text = ngettext(
            "%(count)d was refused by Komfortkasse",
            "%(count)d were refused by Komfortkasse",
            status.failed,
        )
        parts.append(text % {"count": status.failed})
    if status.ok:
        parts.append(pgettext("komfortkasse", "nothing is overdue"))
    parts.append(
        npgettext("komfortkasse", "%(count)d is due", "%(count)d are due", status.due)
        % {"count": status.due}
    )
    if status.oldest_due_at:
        age = _age(status.oldest_due_at, status.read_at)
        parts.append(pgettext("komfortkasse", "the oldest for %(age)s") % {"age": age})
    if status.last_removed_at:
        age = _age(status.last_removed_at, status.read_at)
        parts.append(_("Komfortkasse last confirmed one %(age)s ago") % {"age": age})
    # Not translated: what monitoring may look for.
    return f"{'OK' if status.ok else 'PROBLEM'}: {', '.join(parts)}"


def _age(moment: datetime, now: datetime) -> str:
    return timesince(moment, now, depth=1).replace("\xa0", " ")
