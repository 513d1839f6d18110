from datetime import timedelta

import pytest
from django.utils import timezone

from komfortkasse_django.ages import ago, ahead

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        (-SECOND, "just now"),
        (59 * SECOND, "just now"),
        (MINUTE, "1 minute ago"),
        (HOUR - SECOND, "59 minutes ago"),
        (HOUR, "1 hour ago"),
        (24 * HOUR - SECOND, "23 hours ago"),
        (24 * HOUR, "1 day ago"),
        (240 * HOUR, "10 days ago"),
    ],
)
def test_ago_counts_what_is_whole(passed, words):
    now = timezone.now()

    assert ago(now - passed, now) == words


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (timedelta(), "now"),
        (SECOND, "in less than a minute"),
        (MINUTE, "in 1 minute"),
        (MINUTE + SECOND, "in 2 minutes"),
        (59 * MINUTE, "in 59 minutes"),
        (59 * MINUTE + SECOND, "in 1 hour"),
        (23 * HOUR, "in 23 hours"),
        (23 * HOUR + SECOND, "in 1 day"),
        (25 * HOUR, "in 2 days"),
    ],
)
def test_ahead_rounds_up(left, words):
    now = timezone.now()

    assert ahead(now + left, now) == words
