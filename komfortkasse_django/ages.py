"""Points in time in words: ``3 minutes ago``, ``in 4 minutes``."""

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import npgettext, pgettext

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def ago(when: datetime, now: datetime | None = None) -> str:
    """How long ago ``when`` was, in whole minutes, hours or days."""
    passed = (now or timezone.now()) - when
    if passed < _MINUTE:
        return pgettext("komfortkasse", "just now")
    if passed < _HOUR:
        count = passed // _MINUTE
        text = npgettext("komfortkasse", "%(count)d minute ago", "%(count)d minutes ago", count)
    elif passed < _DAY:
        count = passed // _HOUR
        text = npgettext("komfortkasse", "%(count)d hour ago", "%(count)d hours ago", count)
    else:
        count = passed // _DAY
        text = npgettext("komfortkasse", "%(count)d day ago", "%(count)d days ago", count)
    return text % {"count": count}


def ahead(when: datetime, now: datetime | None = None) -> str:
    """How far ahead ``when`` is, in minutes, hours or days, rounded up: not a promise too many."""
    left = when - (now or timezone.now())
    if left <= timedelta():
        return pgettext("komfortkasse", "now")
    if left < _MINUTE:
        return pgettext("komfortkasse", "in less than a minute")
    if left <= 59 * _MINUTE:
        count = -(-left // _MINUTE)
        text = npgettext("komfortkasse", "in %(count)d minute", "in %(count)d minutes", count)
    elif left <= 23 * _HOUR:
        count = -(-left // _HOUR)
        text = npgettext("komfortkasse", "in %(count)d hour", "in %(count)d hours", count)
    else:
        count = -(-left // _DAY)
        text = npgettext("komfortkasse", "in %(count)d day", "in %(count)d days", count)
    return text % {"count": count}
