"""Whether everyday queries become slower when the mirror has many finished rows."""

import re
from contextlib import suppress
from io import StringIO

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import QuerySet
from django.test import RequestFactory
from django.utils import timezone

from benchmarks import rows
from benchmarks.measuring import Times, cell, interleave, seconds, timed
from benchmarks.sections.deleting_many import bulk_create
from benchmarks.shop.models import Bare
from benchmarks.urls import bare_site
from komfortkasse_django.models import RemovedOrder

TITLE = "A mirror with many finished rows"

_DUE = 1000  # and as many that wait for their next attempt
_CLAIMED = 128  # rows of a claim with the default CONCURRENCY
_FLAT = 1.5


def measure(*, quick: bool) -> dict[str, str]:
    sizes = (0, 1000, 10_000) if quick else (0, 100_000, 1_000_000)
    rows.empty_tables()
    rows.make_due(_DUE)
    rows.make_backing_off(_DUE)
    bulk_create(_CLAIMED)
    claims, looks = {}, {}
    for size in sizes:
        rows.make_finished(size)
        times = _time_queries(rounds=10 if quick else 200)
        claims[size], looks[size] = _relative(times, "claim"), _relative(times, "exists")
    plans = {
        "index of the claim's query": _plan(_claimable()),
        "index of due().exists()": _plan(RemovedOrder.objects.due().order_by()[:1]),
    }
    cells = {}
    for title, figures in (("the claim's query", claims), ("due().exists()", looks)):
        for size in sizes:
            value, beside = figures[size]
            at_most = _FLAT if size else None
            cells[f"{title}, {size:,} finished rows"] = cell(
                value / figures[0][0], at_most=at_most, beside=beside
            )
    return {**cells, **plans, **_admin(sizes[-1], quick=quick), **_status(sizes[-1], quick=quick)}


def _claimable() -> QuerySet[RemovedOrder]:
    due = RemovedOrder.objects.due().filter(shop="default")
    return due.order_by("next_attempt_at")[:_CLAIMED]


def _time_queries(*, rounds: int) -> Times:
    """Time the queries, each with a query on a small table, because the sizes cannot take turns."""
    reference = Bare.objects.filter(next_attempt_at__lte=timezone.now())
    return interleave(
        {
            "small": lambda: timed(lambda: list(reference.order_by("next_attempt_at"))),
            "claim": lambda: timed(lambda: list(_claimable())),
            "exists": lambda: timed(RemovedOrder.objects.due().exists),
        },
        rounds=rounds,
    )


def _relative(times: Times, variant: str) -> tuple[float, str]:
    return times.ratio(variant, "small"), seconds(times.median(variant))


def _plan(query: QuerySet[RemovedOrder]) -> str:
    """Return the columns of the index that the database uses, or its plan if it uses none."""
    plan = rows.explain(query)
    used = [
        columns
        for name, columns in rows.indexes(RemovedOrder).items()
        if re.search(rf"\b{name}\b", plan)
    ]
    return f"on {', '.join(used)}" if used else f"**none**: {' '.join(plan.split())}"


def _admin(size: int, *, quick: bool) -> dict[str, str]:
    pages: dict[str, dict[str, str]] = {
        "": {},
        ", those of the largest state": {"state": "removed"},
        ", those of a state of few": {"state": "failed"},
        ", those to be settled": {"to_do": "to_refund"},
        ", the settled ones": {"to_do": "settled"},
        ", a search for a part of a number": {"q": "99999"},
        ", sorted by order number": {"o": "1"},
    }
    variants = {"bare": lambda: timed(lambda: _list(bare_site))}
    for title, query in pages.items():
        variants[title] = lambda query=query: timed(lambda: _list(admin.site, **query))
    times = interleave(variants, rounds=3 if quick else 5)
    row = f"the admin's list, {size:,} rows"
    return {
        f"{row}, over a bare ModelAdmin's": times.cell("", "bare"),
        **{f"{row}{title}": cell(times.median(title), " s", at_most=1) for title in pages},
    }


def _list(site: admin.AdminSite, **query: str) -> None:
    request = RequestFactory().get("/", query)
    request.user = User(is_active=True, is_staff=True, is_superuser=True)
    response = site.get_model_admin(RemovedOrder).changelist_view(request)
    if response.status_code != 200:
        raise RuntimeError(f"the admin does not know {query}")
    response.render()  # type: ignore[attr-defined]


def _status(size: int, *, quick: bool) -> dict[str, str]:
    row = f"komfortkasse_status, {size:,} rows, over a COUNT of them"
    times = interleave(
        {
            "count": lambda: timed(RemovedOrder.objects.count),
            "ours": lambda: timed(_call_status),
        },
        rounds=3 if quick else 9,
    )
    return {
        row: cell(times.ratio("ours", "count"), beside=seconds(times.median("count"))),
        "its seconds": cell(times.median("ours"), " s", at_most=1),
    }


def _call_status() -> None:
    # It exits with 1 when something is overdue or failed.
    with suppress(SystemExit):
        call_command("komfortkasse_status", stdout=StringIO())
