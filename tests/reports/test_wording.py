"""Removals in words."""

from datetime import timedelta

import pytest
from django.utils import timezone, translation

from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.reports.wording import Waiting, from_now, summarize
from tests.support.mirror_pages import ahead

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
DAY = timedelta(days=1)


class TestFromNow:
    @pytest.fixture(autouse=True)
    def now(self, monkeypatch):
        now = timezone.now()
        monkeypatch.setattr(timezone, "now", lambda: now)
        return now

    @pytest.mark.parametrize(
        ("passed", "words"),
        [
            (timedelta(), "just now"),
            (59 * SECOND, "just now"),
            (MINUTE, "1 minute ago"),
            (HOUR - SECOND, "59 minutes ago"),
            (HOUR, "1 hour ago"),
            (DAY - SECOND, "23 hours ago"),
            (DAY, "1 day ago"),
            (6 * DAY, "6 days ago"),
            (10 * DAY, "1 week ago"),
        ],
    )
    def test_what_has_passed(self, now, passed, words):
        assert from_now(now - passed) == words

    @pytest.mark.parametrize(
        ("left", "words"),
        [
            (SECOND, "in less than a minute"),
            (MINUTE, "in 1 minute"),
            (59 * MINUTE, "in 59 minutes"),
            (HOUR, "in 1 hour"),
            (23 * HOUR, "in 23 hours"),
            (50 * HOUR, "in 2 days"),
        ],
    )
    def test_what_is_to_come(self, now, left, words):
        assert from_now(now + left) == words

    @pytest.mark.parametrize(
        ("passed", "words"),
        [
            (MINUTE, "vor 1 Minute"),
            (3 * DAY, "vor 3 Tagen"),
            (70 * DAY, "vor 2 Monaten"),
            (800 * DAY, "vor 2 Jahren"),
            (-MINUTE, "in 1 Minute"),
            (-3 * HOUR, "in 3 Stunden"),
            (-14 * DAY, "in 2 Wochen"),
        ],
    )
    def test_german_needs_the_dative(self, now, passed, words):
        with translation.override("de"):
            assert from_now(now - passed) == words


class TestSummarize:
    def test_the_outcomes_come_in_one_order(self):
        states = {"pending": 3, "failed": 1, "removed": 2, "unknown": 1}

        assert summarize(states) == (
            "2 removed, 1 unknown to Komfortkasse, 1 refused by Komfortkasse"
        )

    def test_numbers_in_use_are_counted(self):
        assert (
            summarize({"superseded": 1}) == "1 not sent because an order with its number is alive"
        )
        assert (
            summarize({"superseded": 2}) == "2 not sent because orders with their numbers are alive"
        )
        assert summarize({"failed": 1, "removed": 0}) == "1 refused by Komfortkasse"

    def test_nothing_at_all(self):
        assert summarize({}) == "nothing to do"

    def test_the_first_next_attempt_counts(self):
        rows = [
            RemovedOrder(
                shop="default",
                state="pending",
                error_code="connection_failed",
                next_attempt_at=ahead(minutes=minutes, seconds=5),
            )
            for minutes in (9, 2, 5)
        ]

        assert summarize({"removed": 1}, Waiting(rows)) == (
            "1 removed, 3 will be tried again, the first in 2 minutes: no connection"
        )

    def test_what_waits_for_different_reasons_is_told_apart(self):
        rows = [
            RemovedOrder(shop=shop, error_code=code, next_attempt_at=ahead(minutes=minutes))
            for shop, code, minutes in [
                ("default", "", -1),
                ("default", "connection_failed", -1),
                ("gone", "connection_failed", 5),
            ]
        ]

        assert summarize({}, Waiting(rows)) == (
            "2 are still to be sent,"
            " 1 is still to be sent: the shop gone is not in the settings any more"
        )
