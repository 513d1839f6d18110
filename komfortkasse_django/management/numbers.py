"""Order numbers in a file, one a line."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

_SEPARATOR = re.compile("[\"';,\t]")
_DIGIT = re.compile(r"\d")

STANDARD_INPUT = "-"
"""What stands for standard input in place of a file's name."""


def read_numbers(name: str, known: Callable[[list[str]], set[str]]) -> list[str]:
    """Return the numbers in the file ``name``, without empty lines.

    ``known`` returns which of some texts are order numbers of the shop. Raises ``CommandError`` if
    the file cannot be read, or if another line looks like a part of a table: order numbers hardly
    ever have quotes or separators, but the lines of a CSV file have.
    """
    lines = {at: line for at, line in enumerate(_text(name).splitlines(), start=1) if line.strip()}
    doubtful = {at: line for at, line in lines.items() if _SEPARATOR.search(line)}
    with_digits = [at for at, line in lines.items() if _DIGIT.search(line)]
    if with_digits and (first := next(iter(lines))) not in with_digits:
        doubtful[first] = lines[first]  # a heading
    there = known([line.strip() for line in doubtful.values()]) if doubtful else set()
    for at in sorted(doubtful):
        if doubtful[at].strip() not in there:
            is_input = name == STANDARD_INPUT
            file = pgettext("komfortkasse", "standard input") if is_input else name
            raise CommandError(
                _(
                    "Nothing was recorded. Line %(number)d of %(file)s is not an order number of"
                    " the shop, but looks like a part of a table: %(line)s. Write one number a"
                    " line, without heading, quotes or separators. A number that does look like"
                    " this can be given as an argument."
                )
                % {"number": at, "file": file, "line": repr(doubtful[at][:80])}
            )
    return [line.strip() for line in lines.values()]


def _text(name: str) -> str:
    try:
        # As bytes: how standard input is decoded depends on the locale, and keeps a BOM.
        content = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise CommandError(
            pgettext("komfortkasse", "%(name)s cannot be read: %(error)s")
            % {"name": name, "error": error.strerror}
        ) from error
    except UnicodeDecodeError as error:
        raise CommandError(
            _("%(name)s cannot be read as UTF-8 text: %(error)s") % {"name": name, "error": error}
        ) from error
