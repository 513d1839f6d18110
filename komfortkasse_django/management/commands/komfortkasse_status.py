"""``manage.py komfortkasse_status``: is anything wrong? For people and for monitoring."""

import json
import sys
from argparse import ArgumentParser
from datetime import datetime, timedelta

from django.core.management.base import BaseCommand, CommandError
from django.db import router
from django.utils.translation import gettext as _
from django.utils.translation import npgettext, pgettext

from komfortkasse_django.management.arguments import add_database, positive_integer
from komfortkasse_django.management.base import missing_in
from komfortkasse_django.models import OVERDUE_AFTER, RemovedOrder
from komfortkasse_django.reports.reasons import obstacle
from komfortkasse_django.reports.status import Problem, Status, read_status
from komfortkasse_django.reports.wording import cases_in_words, from_now, hint, problem_in_words

State = RemovedOrder.State


class Command(BaseCommand):
    help = (
        "Say what is wrong, and how many removals are in which state. Exits with 1 when somebody"
        " has to look: a removal is overdue or was refused, an API key is wrong, Komfortkasse knew"
        " none of a shop's last orders, or removals wait for a shop that KOMFORTKASSE does not name"
        " any more. Exits with 2 when this cannot be found out."
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

    def handle(self, *, json: bool, max_age: int, database: str | None, **options: object) -> None:
        try:
            using = database or router.db_for_write(RemovedOrder)
            status = read_status(using, timedelta(minutes=max_age))
        except Exception as error:
            # Not exit code 1, which says that somebody has to look at removals.
            raise CommandError(
                _("The state of the removals cannot be read: %(error)s")
                % {"error": missing_in(database) or error},
                returncode=2,
            ) from error
        self.stdout.write(_as_json(status) if json else _as_text(status))
        if not status.ok:
            sys.exit(1)


def _as_json(status: Status) -> str:
    problems = [
        {"problem": each.kind, "shop": each.shop, "since": _iso(each.since), "count": each.count}
        for each in status.problems
    ]
    # Of the worst problem's shop, or of the one that has failed for longest.
    aliases = [each.shop for each in status.problems]
    aliases += sorted(status.failing, key=lambda alias: str(status.failing[alias].failing_since))
    failing = next((status.failing[each] for each in aliases if each in status.failing), None)
    oldest = status.oldest_due_at
    return json.dumps(
        {
            "ok": status.ok,
            "problems": problems,
            "waiting": status.in_state(State.PENDING),
            "due": status.due,
            "overdue": status.overdue_count,
            "to_do": status.to_do,
            "refunds": {
                currency: {"count": count, "amount": f"{amount:.2f}"}
                for currency, (count, amount) in status.refunds.items()
            },
            "at_agency": status.at_agency,
            "alive_again": status.alive_again,
            "oldest_due_seconds": oldest and (status.read_at - oldest).total_seconds(),
            "last_removed_at": _iso(status.last_removed_at),
            "failing_since": failing and _iso(failing.failing_since),
            "error_code": failing and failing.error_code,
            "last_error": failing and failing.last_error,
            "shops": status.counts,
        }
    )


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def _as_text(status: Status) -> str:
    labels = dict(State.choices)
    lines = [_headline(status)]
    # Not translated: monitoring may look for it.
    lines += [f"PROBLEM: {_problem(each, status)}" for each in status.problems[1:]]
    for alias, states in status.counts.items():
        parts = [f"{count} {labels.get(state, state)}" for state, count in states.items() if count]
        numbers = ", ".join(parts) or pgettext("komfortkasse", "no removals")
        reason = obstacle(alias, status.pauses)
        lines.append(": ".join(filter(None, (alias, numbers, reason))))
    if cases := cases_in_words(status):
        lines.append(
            _("To be settled in the admin: %(cases)s") % {"cases": ", ".join(cases.values())}
        )
    return "\n".join(lines)


def _headline(status: Status) -> str:
    """One line that a monitoring system can show."""
    waiting = status.in_state(State.PENDING)
    parts = [
        npgettext("komfortkasse", "%(count)d waits", "%(count)d wait", waiting)
        % {"count": waiting},
        npgettext("komfortkasse", "%(count)d is due", "%(count)d are due", status.due)
        % {"count": status.due},
    ]
    if status.oldest_due_at:
        when = from_now(status.oldest_due_at)
        parts.append(pgettext("komfortkasse", "the oldest became due %(when)s") % {"when": when})
    if status.last_removed_at:
        when = from_now(status.last_removed_at)
        parts.append(_("Komfortkasse last confirmed one %(when)s") % {"when": when})
    if status.ok:
        parts.insert(0, pgettext("komfortkasse", "nothing is overdue"))
        return f"OK: {', '.join(parts)}"
    return f"PROBLEM: {_problem(status.problems[0], status)}; {', '.join(parts)}"


def _problem(problem: Problem, status: Status) -> str:
    parts = (problem_in_words(problem, status), hint(problem, status).rstrip("."))
    return ". ".join(filter(None, parts))
