"""With many removals the admin's list is found by indexes.

It holds for each database on which the tests run.
"""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from komfortkasse_django.models import RemovedOrder
from tests.support.plans import analyze, index, plan

pytestmark = pytest.mark.django_db

LIST = "admin:komfortkasse_django_removedorder_changelist"
FINISHED, RARE = 20_000, 20
SORTS = ("TEMP B-TREE", "Sort Key", "filesort")


@pytest.fixture(scope="module", autouse=True)
def _mirror(django_db_setup, django_db_blocker):
    """Many answered removals, and a few of each other kind. Made once, because it takes seconds."""
    with django_db_blocker.unblock():
        fill()
        analyze()
    yield
    with django_db_blocker.unblock():
        RemovedOrder.objects.all()._raw_delete("default")


def fill() -> None:
    RemovedOrder.objects.bulk_create(
        (
            RemovedOrder(
                shop="default",
                order_number=str(number),
                reference_number=f"K{number}",
                requested_via="delete",
                state="unknown" if number % 10 == 7 else "removed",
                payment_status="PLANNED",
                amount_paid=1 if number % 1000 == 0 else None,
                settled_at=timezone.now() if number % 2000 == 0 else None,
                currency="EUR",
                next_attempt_at=None,
            )
            for number in range(FINISHED)
        ),
        batch_size=1000,
    )
    for state in ("pending", "failed", "superseded"):
        for number in range(RARE):
            RemovedOrder.objects.create(
                shop="default",
                order_number=f"{state} {number}",
                requested_via="delete",
                state=state,
                next_attempt_at=timezone.now() if state == "pending" else None,
            )


@pytest.fixture
def staff(client) -> Client:
    client.force_login(User.objects.create_superuser("staff"))
    return client


def is_by_state(found: str) -> bool:
    return index("state", "shop", "finished_at") in found


def queries(staff: Client, **query: str) -> list[str]:
    """The list's queries on the mirror: first for its head, last for its length and its page."""
    with CaptureQueriesContext(connection) as captured:
        assert staff.get(reverse(LIST), query).status_code == 200
    table = connection.ops.quote_name(RemovedOrder._meta.db_table)
    return [each["sql"] for each in captured if table in each["sql"]]


def page_and_length(staff: Client, **query: str) -> list[str]:
    sent = queries(staff, **query)
    (length,) = (at for at, sql in enumerate(sent) if sql.startswith("SELECT COUNT(*)"))
    return [plan(sql) for sql in sent[length : length + 2]]


def test_the_head(staff):
    sent = queries(staff)[:5]
    states, due, overdue, received, unfinished = (plan(sql) for sql in sent)

    # All rows are counted once, without reading them where the database can.
    assert connection.vendor == "postgresql" or is_by_state(states)
    assert index("next_attempt_at") in due
    assert is_by_state(overdue)
    assert is_by_state(unfinished)
    assert index("is_unsettled") in received


@pytest.mark.parametrize("order", ["", "1", "-1", "5", "-5"])
def test_no_page_is_sorted(staff, order):
    """By order number, or when it was requested."""
    length, page = page_and_length(staff, o=order)

    assert not any(sort in length for sort in SORTS)
    if connection.vendor == "postgresql" and "1" in order:
        # It sorts rows with the same value. There are few.
        assert "Incremental Sort" in page
    else:
        assert not any(sort in page for sort in SORTS)


@pytest.mark.parametrize("state", ["failed", "superseded"])
def test_by_a_state_of_few(staff, state):
    length, page = page_and_length(staff, state=state)

    assert is_by_state(length)
    assert is_by_state(page)


@pytest.mark.parametrize("state", ["removed", "unknown"])
def test_by_a_state_of_many(staff, state):
    """The newest rows until the page is full; SQLite sorts their keys, of a million in 0.1 s."""
    length, page = page_and_length(staff, state=state)

    assert not any(sort in length for sort in SORTS)
    assert is_by_state(page) or not any(sort in page for sort in SORTS)


def test_what_is_still_to_be_sent(staff):
    length, page = page_and_length(staff, state="pending")

    assert is_by_state(length) or index("next_attempt_at") in length
    assert is_by_state(page) or index("next_attempt_at") in page


def test_what_is_overdue(staff):
    RemovedOrder.objects.filter(state="pending").update(created_at="2026-01-01T00:00Z")

    length, page = page_and_length(staff, to_do="overdue")

    assert is_by_state(length)
    assert is_by_state(page)


@pytest.mark.parametrize("kind", ["to_refund", "at_agency", "alive_again", "settled"])
def test_by_what_is_unsettled(staff, kind):
    length, page = page_and_length(staff, to_do=kind)

    assert index("is_unsettled") in length
    # Where the planner knows that there are many it reads the newest rows until a page is full.
    assert index("is_unsettled") in page or not any(sort in page for sort in SORTS)


def test_everything_to_do(staff):
    length, page = page_and_length(staff, to_do="all")

    assert index("is_unsettled") in length
    assert is_by_state(length)
    assert index("is_unsettled") in page or not any(sort in page for sort in SORTS)


def test_a_search_that_finds_few_reads_all_rows_once(staff):
    sent = [sql for sql in queries(staff, q="9999") if "LIKE" in sql]

    assert [" IN (" in sql for sql in sent] == [False, True, True], "then they are read by key"


def test_what_a_later_removal_has_taken_over(staff):
    """It is asked for the rows of a page only, each by its number."""
    taken_over = queries(staff, to_do="settled")[-1]

    assert index("order_number") in plan(taken_over)


@pytest.mark.parametrize(
    "query",
    [{"payment_status": "PLANNED"}, {"shop": "default"}],
)
def test_other_filters_read_the_newest_rows_until_the_page_is_full(staff, query):
    """An index for each of them would cost every deletion more than it helps."""
    _length, page = page_and_length(staff, **query)

    assert not any(sort in page for sort in SORTS)
