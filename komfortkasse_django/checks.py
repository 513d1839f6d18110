"""System checks: what is wrong in the settings, where, and what to write instead.

They only read settings and models, and use neither network nor database. An id is never used again
for another message.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from inspect import getattr_static
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.db import connections, models, router
from django.db.models.expressions import Col
from django.db.models.lookups import Exact, In
from django.db.models.sql.where import WhereNode
from django.utils.module_loading import import_string

from komfortkasse_django.api import rules
from komfortkasse_django.conf import KEYS, Shop, shops
from komfortkasse_django.database import mirror_database

_EXAMPLE = 'Write KOMFORTKASSE = {"default": {"API_KEY": "...", "ORDER_MODEL": "app.Order"}}.'


def check_settings(**kwargs: object) -> list[CheckMessage]:
    """Return everything that is wrong with ``settings.KOMFORTKASSE``."""
    setting = getattr(settings, "KOMFORTKASSE", None)
    if not isinstance(setting, Mapping) or not setting:
        # Does not show the value, because it may be the API key.
        kind = "an empty dictionary" if setting == {} else f"a {type(setting).__name__}"
        found = "missing" if setting is None else kind
        return [_error(1, f"The setting KOMFORTKASSE is {found}; it has to name a shop.", _EXAMPLE)]
    return [
        *(message for alias, options in setting.items() for message in check_alias(alias, options)),
        *check_distinct(setting),
        *check_urllib3(),
    ]


def check_alias(alias: object, options: object) -> Iterator[CheckMessage]:
    """What is wrong with one alias of the setting."""
    if not isinstance(alias, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,255}", alias):
        yield _error(
            2,
            f"KOMFORTKASSE has the alias {alias!r:.40}.",
            'Name the shop by at most 255 ASCII letters, digits and "_.-", such as "default".',
        )
    elif not isinstance(options, Mapping):
        kind = type(options).__name__
        yield _error(16, f"KOMFORTKASSE[{alias!r}] is a {kind}, not a dictionary.", _EXAMPLE)
    else:
        yield from check_keys(alias, options)
        for check in (
            check_api_key,
            check_api_url,
            check_values,
            check_order_model,
            check_order_number,
            check_unique_number,
            check_order_filter,
            check_order_gone,
            check_database_cascade,
            check_databases,
            check_tasks,
        ):
            yield from check(shops()[alias])


def check_distinct(aliases: Iterable[object]) -> Iterator[CheckMessage]:
    """Aliases that are equal for a database: "a" and "A" on MySQL and MariaDB."""
    first: dict[str, str] = {}
    for alias in aliases:
        if isinstance(alias, str) and first.setdefault(alias.lower(), alias) != alias:
            yield _error(
                17,
                f"KOMFORTKASSE has the aliases {first[alias.lower()]!r} and {alias!r}, which are"
                " equal for some databases.",
                "Write aliases that differ in more than upper and lower case.",
            )


def check_keys(alias: str, options: Mapping[Any, object]) -> Iterator[CheckMessage]:
    """Unknown and missing keys."""
    for key in options:
        if key not in KEYS:
            hint = f"Write one of {', '.join(KEYS)}."
            yield _error(3, f"KOMFORTKASSE[{alias!r}] has the unknown key {key!r:.40}.", hint)
    required = {"ORDER_MODEL": 'Write your Order model as "app_label.Model".'}
    if options.get("ENABLED", True):
        required["API_KEY"] = "Write the API key that Komfortkasse shows for your shop."
    for key, hint in required.items():
        if key not in options:
            yield _error(4, f"KOMFORTKASSE[{alias!r}] has no {key!r}.", hint)


def check_api_key(shop: Shop) -> Iterator[CheckMessage]:
    """An API key that cannot be sent. The message never shows it."""
    if callable(shop.api_key):
        return  # each push calls it, but no check does
    # check_keys() reports a missing key.
    is_needed = shop.enabled and _has(shop, "API_KEY")
    if (shop.api_key or is_needed) and rules.problem_of_key(shop.api_key):
        yield _error(
            5,
            f"{_at(shop, 'API_KEY')} is empty or cannot be sent as an HTTP header.",
            "Write the key as Komfortkasse shows it, in printable ASCII characters without spaces"
            ' or line breaks. A shop without a key yet is switched off by "ENABLED": False.',
        )


def check_api_url(shop: Shop) -> Iterator[CheckMessage]:
    """An API URL that cannot be used, or that would send the key unencrypted over a network."""
    at = _at(shop, "API_URL")
    hint = f'Write it as "{Shop.api_url}".'
    if rules.problem_of_url(shop.api_url):
        # Not the URL itself, which may hold a password.
        yield _error(6, f"{at} is not a URL to which the paths of the API can be added.", hint)
        return
    url = urlsplit(shop.api_url)
    if re.fullmatch(r"(.*\.)?localhost|127(\.[0-9]+){3}|::1", url.hostname or ""):
        return
    if url.scheme == "http":
        yield _error(7, f"{at} would send the API key unencrypted: it is http.", hint)
    elif not url.path.strip("/"):
        # Every call would be answered with 404, and no order would ever be removed.
        yield _error(18, f"{at} has no path, so the API is not there.", hint)


_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "ENABLED": (lambda value: isinstance(value, bool), "True or False"),
    "EXTEND_ORDER_ADMIN": (lambda value: isinstance(value, bool), "True or False"),
    "DEADLINE": (
        lambda value: not rules.problem_of_deadline(value),
        f"seconds, more than 0 and at most {rules.MAX_DEADLINE:.0f}",
    ),
    "REQUEST_BUDGET": (
        rules.is_seconds,
        f"seconds, at most {rules.MAX_DEADLINE:.0f}; 0 leaves everything to komfortkasse_push",
    ),
    "UNKNOWN_RETRIES": (
        lambda value: (
            isinstance(value, list | tuple)
            and not any(rules.problem_of_deadline(each) for each in value)
        ),
        f"a list of seconds, each more than 0 and at most {rules.MAX_DEADLINE:.0f}; () for never",
    ),
    "CONCURRENCY": (
        lambda value: type(value) is int and 1 <= value <= 100,
        "a whole number from 1 to 100",
    ),
    "TASK_BACKEND": (lambda value: isinstance(value, str), "an alias of TASKS"),
    "TASK_QUEUE": (lambda value: isinstance(value, str), "the name of a queue"),
}


def check_values(shop: Shop) -> Iterator[CheckMessage]:
    """Values of the wrong type or out of range."""
    for key, (is_right, what) in _VALUES.items():
        value = getattr(shop, KEYS[key])
        if not is_right(value):
            yield _error(8, f"{_at(shop, key)} is {value!r:.40}.", f"Write {what}.")


def check_order_model(shop: Shop) -> Iterator[CheckMessage]:
    """An Order model that does not exist, or that another one has replaced."""
    model = shop.installed_model
    at = _at(shop, "ORDER_MODEL")
    if model is None and _has(shop, "ORDER_MODEL"):
        yield _error(
            9,
            f"{at} is {shop.order_model!r:.80}, which is not an installed model.",
            'Write "app_label.Model" of your Order model, and list its app in INSTALLED_APPS.',
        )
    elif model is not None and model._meta.swapped:
        yield _error(
            10,
            f"{at} is {shop.order_model!r}, which is swapped out and sends no signals.",
            f"Write {str(model._meta.swapped)!r}, as in {model._meta.swappable}.",
        )


def check_order_number(shop: Shop) -> Iterator[CheckMessage]:
    """An order number that cannot be read."""
    number: object = shop.order_number
    model = shop.installed_model
    at = _at(shop, "ORDER_NUMBER")
    hint = (
        "Write a field or property of the model, or the dotted path of a function that takes an"
        " order and returns its number."
    )
    if not isinstance(number, str) or "." in number:
        yield from _check_function(11, at, number, "shop.komfortkasse.number_of")
    elif model is None:
        return
    elif number == "pk" and isinstance(model._meta.pk, models.CompositePrimaryKey):
        yield _error(
            19,
            f"{at} is {number!r}, which is the composite primary key of {model._meta.label}:"
            " Komfortkasse identifies an order by one value.",
            hint,
        )
    elif shop.number_field is None and not _is_property(model, number):
        problem = f"which is neither a field nor a property of {model._meta.label}"
        yield _error(11, f"{at} is {number!r:.40}, {problem}.", hint)


def _is_property(model: type[models.Model], name: str) -> bool:
    """Whether each order may have a value of this name that is not stored in a field."""
    others = {each.name for each in [*model._meta.get_fields(), *model._meta.managers]}
    # Static: a descriptor of the shop's own may only work on an order.
    attribute = getattr_static(model, name, None)
    return attribute is not None and not callable(attribute) and name not in others


def check_unique_number(shop: Shop) -> Iterator[CheckMessage]:
    """Orders that may share a number: the app cannot tell them apart."""
    # If ORDER_MODEL or ORDER_NUMBER is wrong, other checks say so.
    field = shop.number_field if shop.installed_model else None
    if field and not shop.has_unique_numbers and shop.order_filter is None:
        yield _warning(
            4,
            f"{_at(shop, 'ORDER_NUMBER')} is {shop.order_number!r:.40}, but several orders of"
            f" {field.model._meta.label} may have the same number: then the removal of an order is"
            " not sent while another order has its number.",
            "Write an ORDER_FILTER that accepts the orders of one number series, or the field"
            " or function with the number that Komfortkasse knows. If a number is never used"
            " twice, give the field unique=True.",
        )


def check_order_filter(shop: Shop) -> Iterator[CheckMessage]:
    """A filter that cannot be called."""
    if shop.order_filter is not None:
        at = _at(shop, "ORDER_FILTER")
        yield from _check_function(12, at, shop.order_filter, "shop.komfortkasse.is_prepaid")


def _check_function(number: int, at: str, value: object, example: str) -> Iterator[CheckMessage]:
    """What is neither a function nor the dotted path of one."""
    hint = f'Write a function or its dotted path, such as "{example}".'
    try:
        function = import_string(value) if isinstance(value, str) else value
    except Exception as error:  # noqa: BLE001 - importing runs the shop's code
        reason = f"{type(error).__name__}: {error}"
        yield _error(number, f"{at} is {value!r:.80}, which cannot be imported: {reason}", hint)
    else:
        if not callable(function):
            yield _error(number, f"{at} is {value!r:.80}, which cannot be called.", hint)


def check_order_gone(shop: Shop) -> Iterator[CheckMessage]:
    """A condition that does not fit the Order model, or that every order or none meets."""
    at = _at(shop, "ORDER_GONE")
    hint = (
        'Write field lookups, such as {"status": "cancelled"}, or a Q, as filter() takes them, or'
        " None."
    )
    if shop.order_gone is None:
        return
    if shop.gone is None:
        yield _error(25, f"{at} is {shop.order_gone!r:.40}, which is not a condition.", hint)
    elif shop.installed_model is not None:
        try:
            yield from _check_choices(at, models.QuerySet(shop.model).filter(shop.gone).query.where)
        except Exception as error:  # noqa: BLE001 - whatever fields and lookups raise
            reason = f"{type(error).__name__}: {error}"
            yield _error(25, f"{at} does not fit {shop.model._meta.label}: {reason}", hint)


def _check_choices(at: str, where: WhereNode) -> Iterator[CheckMessage]:
    """Values that are not among the choices of their field, such as another spelling."""
    for lookup in where.leaves():
        if not isinstance(lookup, Exact | In) or not isinstance(lookup.lhs, Col):
            continue
        field = lookup.lhs.output_field
        choices = [field.get_prep_value(choice) for choice, _label in field.flatchoices]
        for value in lookup.rhs if isinstance(lookup.rhs, list) else [lookup.rhs]:
            is_value = isinstance(value, str | int) and value != ""
            if choices and is_value and value not in choices:
                yield _warning(
                    5,
                    f"{at} asks for {value!r:.40}, which is not among the choices of {field}.",
                    f"Write one of {', '.join(map(repr, choices))}.",
                )


def check_database_cascade(shop: Shop) -> Iterator[CheckMessage]:
    """Orders that the database deletes by itself, without signals (Django 6.1)."""
    cascade = getattr(models, "DB_CASCADE", None)
    for field in shop.installed_model._meta.concrete_fields if shop.installed_model else ():
        if cascade and field.remote_field and field.remote_field.on_delete is cascade:
            yield _error(
                13,
                f"{field} has on_delete=DB_CASCADE: the database deletes orders without telling"
                " Django, and Komfortkasse is not told either.",
                "Write on_delete=CASCADE.",
            )


def check_databases(shop: Shop) -> Iterator[CheckMessage]:
    """Databases that the app does not support, and a mirror on another one than the orders."""
    model = shop.installed_model
    if model is None:
        return
    try:
        orders_at = router.db_for_write(model)
        mirror_at = mirror_database(orders_at)
        vendors = {alias: connections[alias].vendor for alias in (orders_at, mirror_at)}
    except Exception as error:  # noqa: BLE001 - a router is the shop's own code
        yield _error(
            20,
            f"DATABASE_ROUTERS and DATABASES do not say where {model._meta.label} and"
            f" komfortkasse_django are stored: {type(error).__name__}: {error!s:.200}",
            "Let db_for_write() of each router return an alias of DATABASES, or None.",
        )
        return
    for alias, vendor in vendors.items():
        if vendor not in {"sqlite", "postgresql", "mysql"}:  # MariaDB is a "mysql" to Django
            yield _error(
                21,
                f"DATABASES[{alias!r}] is of the kind {vendor!r}, which this app does not support.",
                f"Keep {model._meta.label} and komfortkasse_django on SQLite, PostgreSQL, MariaDB"
                " or MySQL.",
            )
    if orders_at != mirror_at:
        yield _warning(
            1,
            f"DATABASE_ROUTERS keep {model._meta.label} on {orders_at!r} but the mirror on"
            f" {mirror_at!r}: a deletion and the record of its removal cannot commit together.",
            "Let the router keep komfortkasse_django on the database of the orders, or accept"
            " that a crash right after the commit of a deletion loses its removal.",
        )


def check_urllib3() -> Iterator[CheckMessage]:
    """A fork that replaces urllib3 and does not keep to DEADLINE."""
    # Importing it takes time, so only where the fork is installed.
    version = import_module("urllib3").__version__ if find_spec("urllib3_future") else ""
    # The versions of the fork end in 900 or more. It can also be installed beside urllib3.
    if re.fullmatch(r"\d+\.\d+\.9\d\d", version):
        yield _warning(
            3,
            f"urllib3-future {version} has replaced urllib3: a call to Komfortkasse may"
            " take much longer than DEADLINE.",
            "Uninstall it (niquests depends on it) and install urllib3 again, or install it"
            " beside urllib3, as its documentation says under URLLIB3_NO_OVERRIDE.",
        )


def check_tasks(shop: Shop) -> Iterator[CheckMessage]:
    """A task backend or queue that does not exist."""
    backends: object = {"default": {}}  # what django-tasks uses without a setting
    if find_spec("django.tasks") or find_spec("django_tasks"):
        backends = getattr(settings, "TASKS", backends)
    known = backends if isinstance(backends, Mapping) else {}
    backend = known[shop.task_backend] if shop.task_backend in list(known) else None
    if not isinstance(backend, Mapping):
        yield _error(
            14,
            f"{_at(shop, 'TASK_BACKEND')} is {shop.task_backend!r:.40}, which is not a backend in"
            " TASKS.",
            f"Write one of {', '.join(map(repr, known)) or 'its aliases'}, or add it to TASKS with"
            " its BACKEND. On Django 5.2, install django-tasks first.",
        )
        return
    queues = backend.get("QUEUES", ["default"])
    # A backend without QUEUES accepts all of them.
    is_list = isinstance(queues, list | tuple | set | frozenset)
    if not is_list or (queues and shop.task_queue not in list(queues)):
        yield _error(
            15,
            f"{_at(shop, 'TASK_QUEUE')} is {shop.task_queue!r:.40}, which is not a queue of"
            f" TASKS[{shop.task_backend!r}].",
            f"Write one of its QUEUES, which must be a list of names: {queues!r:.200}.",
        )


def _error(number: int, message: str, hint: str) -> Error:
    return Error(message, hint=hint, id=f"komfortkasse_django.E{number:03}")


def _warning(number: int, message: str, hint: str) -> CheckWarning:
    return CheckWarning(message, hint=hint, id=f"komfortkasse_django.W{number:03}")


def _at(shop: Shop, key: str) -> str:
    return f"KOMFORTKASSE[{shop.alias!r}][{key!r}]"


def _has(shop: Shop, key: str) -> bool:
    return key in settings.KOMFORTKASSE[shop.alias]
