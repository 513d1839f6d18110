"""Turns the JSON of an answer into the typed objects of ``schema``.

The type that ``schema`` declares for an attribute decides how it is read. A value that does not fit
the type becomes None.
"""

import contextlib
import dataclasses
import datetime as dt
import functools
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from django.db.models import TextChoices

from komfortkasse_django.api.rules import is_storable
from komfortkasse_django.schema import Order

# Maximum number of digits before and after the decimal point. Money needs far fewer, and
# calculations with so many digits are still fast.
MAX_DIGITS = 20


class Number(NamedTuple):
    """A JSON number as text. It is only calculated where the schema wants a number."""

    text: str


def read_order(text: bytes | str) -> Order:
    """Read the body of a 200. The number may be a JSON text or a JSON number.

    Raises ``ValueError`` if it is not a JSON object with a ``number``. The message contains no part
    of the text.
    """
    content = read_object(text)
    number = content.get("number")
    if isinstance(number, Number):
        content["number"] = number.text
    values = _read_attributes(Order, content)
    if not values.get("number"):
        raise ValueError("number is missing or malformed")
    return Order(**values)


def read_object(text: bytes | str) -> dict[str, object]:
    """Read a JSON object. Its numbers become ``Number``.

    Raises ``ValueError`` if it is not an object, or if it nests too deeply. The error contains no
    part of the text.
    """
    value: object = None
    # JSONDecodeError holds the whole body, so it must not become the context of our error.
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(
            text,
            parse_int=Number,
            parse_float=Number,
            parse_constant=lambda _text: None,  # NaN and Infinity, which are not JSON
            object_pairs_hook=_read_pairs,
        )
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - a matter of content
    return value


def _read_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Read an object. Two different numbers become None: it is not clear which order is meant."""
    value = dict(pairs)
    if any(name == "number" and other != value["number"] for name, other in pairs):
        value["number"] = None
    return value


# A reader turns a JSON value into a value of the declared type, or into None.
_Reader = Callable[[object], object]


def _read_text(value: object) -> str | None:
    return value if isinstance(value, str) and is_storable(value) else None


def _read_decimal(value: object) -> Decimal | None:
    # A huge exponent or thousands of digits would cost time and memory.
    if not isinstance(value, Number) or len(value.text) > 2 * MAX_DIGITS:
        return None
    with contextlib.suppress(ArithmeticError):
        number = Decimal(value.text)
        if abs(number.adjusted()) < MAX_DIGITS:
            return number
    return None


def _read_integer(value: object) -> int | None:
    number = _read_decimal(value)
    return int(number) if number is not None and number == number.to_integral_value() else None


def _read_boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _read_date(value: object) -> dt.date | None:
    # The contract says dd-MM-yyyy for the dates of an order, and nothing about the others.
    for text_format in ("%d-%m-%Y", "%Y-%m-%d"):
        with contextlib.suppress(ValueError):
            return dt.datetime.strptime(_read_text(value) or "", text_format).date()  # noqa: DTZ007
    return None


def _read_choice(choices: dict[str, TextChoices], value: object) -> str | None:
    text = _read_text(value)
    return None if text is None else choices.get(text, text)


def _read_array(read: _Reader, value: object) -> tuple[object, ...] | None:
    """Read an array, without the entries that do not fit the type."""
    if not isinstance(value, list):
        return None
    return tuple(entry for entry in map(read, value) if entry is not None)


def _read_part(part: Any, value: object) -> object:  # noqa: ANN401 - a dataclass
    return part(**_read_attributes(part, value)) if isinstance(value, dict) else None


def _read_attributes(part: type, content: dict[str, object]) -> dict[str, Any]:
    return {
        field: read(content[name]) for field, name, read in _attributes(part) if name in content
    }


@functools.cache
def _attributes(part: type) -> list[tuple[str, str, _Reader]]:
    """Return each field's name, its name in JSON, and how it is read."""
    return [
        (field, _camel_case(field), _reader(hint)) for field, hint in get_type_hints(part).items()
    ]


def _camel_case(field: str) -> str:
    first, *others = field.split("_")
    return first + "".join(word.capitalize() for word in others)


def _reader(hint: Any) -> _Reader:  # noqa: ANN401 - a type annotation has no type
    """Return the reader for a declared type, whether or not it allows None."""
    if get_origin(hint) is tuple:
        return functools.partial(_read_array, _reader(get_args(hint)[0]))
    if hint in _READERS:
        return _READERS[hint]
    if dataclasses.is_dataclass(hint):
        return functools.partial(_read_part, hint)
    # The rest are unions: an enumeration or str, or some type or None.
    alternative = get_args(hint)[0]
    if isinstance(alternative, type) and issubclass(alternative, TextChoices):
        return functools.partial(_read_choice, {str(choice): choice for choice in alternative})
    return _reader(alternative)


_READERS: dict[Any, _Reader] = {
    str: _read_text,
    Decimal: _read_decimal,
    int: _read_integer,
    bool: _read_boolean,
    dt.date: _read_date,
}
