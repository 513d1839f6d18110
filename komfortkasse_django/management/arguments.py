"""Arguments that several commands share, each refused with what to write instead."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from contextlib import suppress

from django.db import connections

from komfortkasse_django.conf import shops

_DAY = 86_400  # seconds


def positive_integer(text: str) -> int:
    """An argparse type: a whole number above 0."""
    # Python refuses to read numbers of thousands of digits.
    if not re.fullmatch("0*[1-9][0-9]{0,17}", text):
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0, such as 100")
    return int(text)


def positive_seconds(text: str) -> float:
    """An argparse type: seconds, more than 0 and at most a day, which every clock can wait for."""
    with suppress(ValueError):
        if 0 < (seconds := float(text)) <= _DAY:
            return seconds
    raise ArgumentTypeError(
        f"{text!r} is not a number of seconds above 0 and at most {_DAY}, such as 60"
    )


def add_shop(parser: ArgumentParser) -> None:
    """Add ``--shop``."""
    parser.add_argument(
        "--shop", metavar="ALIAS", type=_shop, help="only this alias of KOMFORTKASSE"
    )


def _shop(alias: str) -> str:
    if alias not in shops():
        known = ", ".join(shops()) or "none at all"
        raise ArgumentTypeError(f"KOMFORTKASSE has no shop {alias!r}, but {known}")
    return alias


def add_database(parser: ArgumentParser) -> None:
    """Add ``--database``."""
    parser.add_argument(
        "--database",
        metavar="ALIAS",
        choices=tuple(connections),
        help="the database that keeps the mirror; by default what the database routers say",
    )
