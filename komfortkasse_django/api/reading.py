"""From the JSON of an answer to the typed objects of ``schema``.

What is read of an attribute follows from the type that ``schema`` declares for it.
"""

import contextlib
import dataclasses
import datetime as dt
import functools
import json
import re
from collections.abc import Callable
from decimal import Decimal
from types import NoneType
from typing import Any, NamedTuple, TypeVar, cast, get_args, get_origin, get_type_hints

from django.db.models import TextChoices

from komfortkasse_django.api.rules import is_storable
from komfortkasse_django.schema import DateOfUnstatedFormat, Order

# Digits before and after the decimal point of a number that is read. Money needs far
# fewer, and every later calculation can take as many.
MAX_DIGITS = 20


def read_order(text: bytes | str) -> Order:
    """Read the body of a 200.

    Raises ``ValueError`` if it is not a JSON object, or if an attribute that the
    contract requires is missing or odd. The message names the attribute, never its value.
    """
    return _read_part(Order, read_object(text), "")


def read_object(text: bytes | str) -> dict[str, object]:
    """Read a JSON object. Its numbers become Decimals, or None where they are odd.

    Raises ``ValueError`` if it is anything else, names an attribute twice or nests
    too deeply. The error holds nothing of the text.
    """
    value: object = None
    # JSONDecodeError holds the whole body: it must not be the context of ours.
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(
            text,
            parse_int=_read_number,
            parse_float=_read_number,
            parse_constant=_read_constant,
            object_pairs_hook=_read_pairs,
        )
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - a matter of content
    return value


def _read_number(text: str) -> Decimal | None:
    # Neither a huge exponent nor thousands of digits may cost time or memory.
    if len(text) > 2 * MAX_DIGITS:
        return None
    number = None
    with contextlib.suppress(ArithmeticError):
        number = Decimal(text)
    if number is None or abs(number.adjusted()) >= MAX_DIGITS:
        return None
    return number


def _read_constant(_text: str) -> None:
    """Take NaN and Infinity for None: they are no JSON, but Python's json reads them."""


def _read_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an attribute is named twice")
    return value


# A reader turns a JSON value into what the declared type wants, or raises
# ValueError with the attribute's name: _Reader(value, name).
_Reader = Callable[[object, str], object]
_Part = TypeVar("_Part")
_DD_MM_YYYY = re.compile(r"(?P<day>[0-9]{2})-(?P<month>[0-9]{2})-(?P<year>[0-9]{4})")
_YYYY_MM_DD = re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})")


class _Attribute(NamedTuple):
    field: str
    name: str
    required: bool
    read: _Reader


def _odd(name: str) -> ValueError:
    return ValueError(f"{name} is missing or malformed")


def _read_text(value: object, name: str) -> str:
    if not isinstance(value, str) or not is_storable(value):
        raise _odd(name)
    return value


def _read_decimal(value: object, name: str) -> Decimal:
    if not isinstance(value, Decimal):
        raise _odd(name)
    return value


def _read_integer(value: object, name: str) -> int:
    if not isinstance(value, Decimal) or value != value.to_integral_value():
        raise _odd(name)
    return int(value)


def _read_boolean(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise _odd(name)
    return value


def _read_date(value: object, name: str, *, formats: tuple[re.Pattern[str], ...]) -> dt.date:
    text = _read_text(value, name)
    for match in filter(None, (pattern.fullmatch(text) for pattern in formats)):
        with contextlib.suppress(ValueError):
            return dt.date(int(match["year"]), int(match["month"]), int(match["day"]))
    raise _odd(name)


def _read_choice(choices: dict[str, TextChoices], value: object, name: str) -> str:
    text = _read_text(value, name)
    return choices.get(text, text)


def _read_array(read: _Reader, value: object, name: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise _odd(name)
    entries = []
    for entry in value:
        with contextlib.suppress(ValueError):
            entries.append(read(entry, name))
    return tuple(entries)


def _read_part(part: type[_Part], value: object, name: str) -> _Part:
    if not isinstance(value, dict):
        raise _odd(name)
    values: dict[str, object] = {}
    for attribute in _attributes(cast("type", part)):
        full_name = f"{name}.{attribute.name}" if name else attribute.name
        # Most attributes are missing in most answers, and exceptions cost time.
        if attribute.name in value or attribute.required:
            try:
                values[attribute.field] = attribute.read(value.get(attribute.name), full_name)
            except ValueError:
                if attribute.required:
                    raise
    return part(**values)


@functools.cache
def _attributes(part: type) -> tuple[_Attribute, ...]:
    return tuple(
        _Attribute(
            field=field,
            name=_camel_case(field),
            required=NoneType not in get_args(hint),
            read=_reader(hint),
        )
        for field, hint in get_type_hints(part, include_extras=True).items()
    )


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
        return functools.partial(_read_part, cast("type[object]", hint))
    # What is left is a union: an enumeration or str, or something or None.
    alternative = get_args(hint)[0]
    if isinstance(alternative, type) and issubclass(alternative, TextChoices):
        return functools.partial(_read_choice, {str(choice): choice for choice in alternative})
    return _reader(alternative)


_READERS: dict[Any, _Reader] = {
    str: _read_text,
    Decimal: _read_decimal,
    int: _read_integer,
    bool: _read_boolean,
    dt.date: functools.partial(_read_date, formats=(_DD_MM_YYYY,)),
    DateOfUnstatedFormat: functools.partial(_read_date, formats=(_DD_MM_YYYY, _YYYY_MM_DD)),
}
