"""What became of removals, in words."""

from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.reports.wording import describe, summarize
from tests.support.mirror_pages import ahead


class TestWords:
    def test_outcomes_come_in_one_order(self):
        rows = [
            RemovedOrder(shop="default", state=state, next_attempt_at=None)
            for state in ("failed", "removed", "unknown", "removed")
        ]

        assert describe(rows, {}) == (
            "2 removed, 1 unknown to Komfortkasse, 1 refused by Komfortkasse"
        )

    def test_numbers_in_use_are_counted(self):
        assert summarize({"superseded": 1}) == "1 not sent because its number is in use again"
        assert summarize({"superseded": 2}) == "2 not sent because their numbers are in use again"
        assert summarize({"failed": 1, "removed": 0}) == "1 refused by Komfortkasse"

    def test_the_first_next_attempt_counts(self):
        rows = [
            RemovedOrder(
                shop="default",
                state="pending",
                last_error="No connection to Komfortkasse",
                next_attempt_at=ahead(minutes=minutes, seconds=-5),
            )
            for minutes in (9, 2, 5)
        ]

        assert describe(rows, {}) == (
            "3 will be tried again, the first in 2 minutes: no connection"
        )
