"""Order numbers in a file, one a line."""

import re
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

_SEPARATOR = re.compile("[\"';,\t]")
_DIGIT = re.compile(r"\d")

STANDARD_INPUT = "-"
"""What stands for standard input in place of a file's name."""


def read_numbers(name: str, known: Callable[[list[str]], set[str]]) -> list[str]:
    """The numbers in the file ``name``; empty lines are skipped.

    ``known`` returns which of some texts are order numbers of the shop. Raises ``CommandError``
    where the file cannot be read, and where another line looks like a part of a table: order
    numbers hardly ever have quotes or separators in them, but the lines of a CSV file have.
    """
    lines = {
        number: line.rstrip("\n")
        for number, line in enumerate(StringIO(_text(name), newline=None), start=1)
        if line.strip()
    }
    doubtful = [number for number, line in lines.items() if _SEPARATOR.search(line)]
    first, *others = lines or [0]
    if others and not _DIGIT.search(lines[first]) and _DIGIT.search("".join(lines.values())):
        doubtful.append(first)  # as a heading
    there = known([lines[number].strip() for number in doubtful]) if doubtful else set()
    for number in sorted(doubtful):
        if lines[number].strip() not in there:
            raise CommandError(
                _(
                    "Nothing was recorded. Line %(number)d of %(file)s is not an order number of"
                    " the shop, but looks like a part of a table: %(line)s. Write one number a"
                    " line, without heading, quotes or separators. A number that does look like"
                    " this can be given as an argument."
                )
                % {
                    "number": number,
                    "file": pgettext("komfortkasse", "standard input")
                    if name == STANDARD_INPUT
                    else name,
                    "line": repr(lines[number][:80]),
                }
            )
    return [line.strip() for line in lines.values()]


def _text(name: str) -> str:
    try:
        # As bytes: how standard input is decoded depends on the locale, and keeps a BOM.
        content = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
        return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            _("%(name)s cannot be read as UTF-8 text: %(error)s") % {"name": name, "error": error}
        ) from error
