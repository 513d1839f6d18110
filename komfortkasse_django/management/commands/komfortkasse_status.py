"""``manage.py komfortkasse_status``: is anything wrong? For people and for monitoring."""

import json
import sys
from argparse import ArgumentParser
from datetime import timedelta

from django.core.management.base import BaseCommand, CommandError
from django.db import router
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, npgettext, pgettext

from komfortkasse_django.management.arguments import add_database, positive_integer
from komfortkasse_django.management.base import missing_in
from komfortkasse_django.models import OVERDUE_AFTER, RemovedOrder
from komfortkasse_django.reports.reasons import obstacle
from komfortkasse_django.reports.status import Status, read_status
from komfortkasse_django.reports.wording import from_now

State = RemovedOrder.State


class Command(BaseCommand):
    help = (
        "Say how many removals are in which state. Exits with 1 when one is overdue or was refused"
        " by Komfortkasse, with 2 when this cannot be found out. It does not matter why a removal"
        " is overdue: nobody sends those of a shop that is paused, switched off or not in"
        " KOMFORTKASSE any more."
    )
    requires_system_checks = ()  # a broken setting must not be taken for an overdue removal

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="write one JSON object")
        parser.add_argument(
            "--max-age",
            metavar="MINUTES",
            type=positive_integer,
            default=OVERDUE_AFTER // timedelta(minutes=1),
            help="a removal is overdue when it is pending and was asked for longer ago; 60 by"
            " default",
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


def _as_json(status: Status) -> str:
    oldest = status.oldest_due_at
    return json.dumps(
        {
            "ok": status.ok,
            "due": status.due,
            "overdue": status.overdue_count,
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
        reason = obstacle(alias, status.pauses)
        lines.append(": ".join(filter(None, (alias, numbers, reason))))
    return "\n".join(lines)


def _headline(status: Status) -> str:
    """One line that a monitoring system can show."""
    parts = []
    if status.overdue:
        count = status.overdue_count
        text = npgettext(
            "komfortkasse", "%(count)d removal is overdue", "%(count)d removals are overdue", count
        )
        parts.append(text % {"count": count})
    if count := status.in_state(State.FAILED):
        text = ngettext(
            "%(count)d was refused by Komfortkasse", "%(count)d were refused by Komfortkasse", count
        )
        parts.append(text % {"count": count})
    if status.ok:
        parts.append(pgettext("komfortkasse", "nothing is overdue"))
    parts.append(
        npgettext("komfortkasse", "%(count)d is due", "%(count)d are due", status.due)
        % {"count": status.due}
    )
    if status.oldest_due_at:
        when = from_now(status.oldest_due_at)
        parts.append(pgettext("komfortkasse", "the oldest became due %(when)s") % {"when": when})
    if status.last_removed_at:
        when = from_now(status.last_removed_at)
        parts.append(_("Komfortkasse last confirmed one %(when)s") % {"when": when})
    # Not translated: what monitoring may look for.
    return f"{'OK' if status.ok else 'PROBLEM'}: {', '.join(parts)}"
