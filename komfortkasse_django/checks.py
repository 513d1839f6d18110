"""System checks: what is wrong in the settings, where, and what to write instead.

They are pure functions of the settings and touch neither network nor database. An id is never used
again for another message.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.db import connections, models, router
from django.utils.module_loading import import_string

from komfortkasse_django import orders
from komfortkasse_django.api import rules
from komfortkasse_django.conf import KEYS, Shop, shops
from komfortkasse_django.database import mirror_database

_EXAMPLE = 'Write KOMFORTKASSE = {"default": {"API_KEY": "...", "ORDER_MODEL": "app.Order"}}.'


def check_settings(**kwargs: object) -> list[CheckMessage]:
    """Return everything that is wrong with ``settings.KOMFORTKASSE``."""
    setting = getattr(settings, "KOMFORTKASSE", None)
    if not isinstance(setting, Mapping) or not setting:
        # Does not show the value, because it may be the API key.
        found = "missing" if setting is None else f"a {type(setting).__name__}"
        return [
            _error(1, f"The setting KOMFORTKASSE is {found}, not a filled dictionary.", _EXAMPLE)
        ]
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
        yield _error(
            16,
            f"KOMFORTKASSE[{alias!r}] is a {type(options).__name__}, not a dictionary.",
            _EXAMPLE,
        )
    else:
        yield from check_keys(alias, options)
        shop = shops()[alias]
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
            yield from check(shop)


def check_distinct(aliases: Iterable[object]) -> Iterator[CheckMessage]:
    """Aliases that are equal for a database: "a" and "A" on MySQL and MariaDB."""
    first: dict[str, str] = {}
    for alias in aliases:
        if isinstance(alias, str) and first.setdefault(alias.lower(), alias) != alias:
            yield _error(
                17,
                f"KOMFORTKASSE has the aliases {first[alias.lower()]!r} and {alias!r}, which some"
                " databases take for the same.",
                "Write aliases that differ in more than upper and lower case.",
            )


def check_keys(alias: str, options: Mapping[Any, object]) -> Iterator[CheckMessage]:
    """Unknown and missing keys."""
    for key in options:
        if key not in KEYS:
            close = get_close_matches(str(key).upper(), KEYS, n=1)
            hint = f"Write {close[0]!r}." if close else f"Write one of {', '.join(KEYS)}."
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
    is_needed = shop.enabled and "API_KEY" in _options(shop)
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
    if _is_loopback(url.hostname or ""):
        return
    if url.scheme == "http":
        yield _error(7, f"{at} would send the API key unencrypted: it is http.", hint)
    elif not url.path.strip("/"):
        # Whatever answers there answers 404, and no order would ever be removed.
        yield _error(18, f"{at} has no path, so the API is not there.", hint)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


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
            and all(rules.is_seconds(each) and each > 0 for each in value)
        ),
        f"a list of seconds, each more than 0 and at most {rules.MAX_DEADLINE:.0f}; () for never",
    ),
    "CONCURRENCY": (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 100,
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
    if "ORDER_MODEL" not in _options(shop):
        return
    model = shop.installed_model
    if model is None:
        yield _error(
            9,
            f"{_at(shop, 'ORDER_MODEL')} is {shop.order_model!r:.80}, which is not an installed"
            " model.",
            'Write "app_label.Model" of your Order model, and list its app in INSTALLED_APPS.',
        )
    elif model._meta.swapped:
        yield _error(
            10,
            f"{_at(shop, 'ORDER_MODEL')} is {shop.order_model!r}, which is swapped out and sends"
            " no signals.",
            f"Write {str(model._meta.swapped)!r}, as in {model._meta.swappable}.",
        )


def check_order_number(shop: Shop) -> Iterator[CheckMessage]:
    """An order number that cannot be read."""
    number: object = shop.order_number
    at = _at(shop, "ORDER_NUMBER")
    if callable(number):
        return
    if not isinstance(number, str):
        yield _error(
            11, f"{at} is {number!r:.40}.", "Write an attribute, a dotted path or a function."
        )
    elif "." in number:
        yield from _check_path(11, at, number, "shop.komfortkasse.number_of")
    elif (model := shop.installed_model) is None:
        return
    elif number == "pk" and isinstance(model._meta.pk, models.CompositePrimaryKey):
        yield _error(
            19,
            f"{at} is {number!r}, which is the composite primary key of {model._meta.label}:"
            " Komfortkasse identifies an order by one value.",
            "Write the field that holds the order's number, or the dotted path of a function that"
            " takes an order and returns its number.",
        )
    elif shop.number_field is None and (what := _what_no_number_is(model, number)):
        yield _error(
            11,
            f"{at} is {number!r:.40}, which is {what} of {model._meta.label}.",
            "Write a field or property of the model, or the dotted path of a function that"
            " takes an order and returns its number.",
        )


def _what_no_number_is(model: type[models.Model], name: str) -> str:
    """Return what an attribute is if it cannot hold the number of an order."""
    try:
        attribute = getattr(model, name, None)
    except Exception:  # noqa: BLE001 - the shop's own descriptor, which only works on an order
        return ""
    if callable(attribute):
        return "a method"
    relations = {each.name for each in model._meta.get_fields()}
    if attribute is None or name in relations or isinstance(attribute, models.Manager):
        return "neither a field nor a property"
    return ""


def check_unique_number(shop: Shop) -> Iterator[CheckMessage]:
    """Orders that may share a number: the app cannot tell them apart."""
    # If ORDER_MODEL or ORDER_NUMBER is wrong, other checks say so.
    field = shop.number_field if shop.installed_model else None
    if field is None or field.unique or shop.order_filter is not None:
        return
    options = field.model._meta
    together = [each.fields for each in options.total_unique_constraints]
    if (field.name,) not in map(tuple, [*together, *options.unique_together]):
        yield CheckWarning(
            f"{_at(shop, 'ORDER_NUMBER')} is {shop.order_number!r:.40}, but several orders of"
            f" {options.label} may have the same number: then the removal of an order is not sent"
            " while another order has its number.",
            hint="Write an ORDER_FILTER that accepts the orders of one number series, or the field"
            " or function with the number that Komfortkasse knows. If a number is never used"
            " twice, give the field unique=True.",
            id="komfortkasse_django.W004",
        )


def check_order_filter(shop: Shop) -> Iterator[CheckMessage]:
    """A filter that cannot be called."""
    order_filter: object = shop.order_filter
    at = _at(shop, "ORDER_FILTER")
    if isinstance(order_filter, str):
        yield from _check_path(12, at, order_filter, "shop.komfortkasse.is_prepaid")
    elif order_filter is not None and not callable(order_filter):
        yield _error(
            12, f"{at} is {order_filter!r:.40}.", "Write a dotted path, a function or None."
        )


def check_order_gone(shop: Shop) -> Iterator[CheckMessage]:
    """A condition that is invalid for the Order model, or true for every order."""
    value: object = shop.order_gone
    at = _at(shop, "ORDER_GONE")
    hint = (
        'Write field lookups, such as {"status": "cancelled"}, or a Q, as filter() takes them, or'
        " None."
    )
    is_condition = isinstance(value, models.Q) or (
        isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    )
    if value is not None and not is_condition:
        yield _error(25, f"{at} is {value!r:.40}.", hint)
    elif value is not None and not value:
        yield _error(25, f"{at} is empty, so every order would count as gone.", hint)
    elif shop.installed_model is not None:
        try:
            orders.check_condition(shop)
        except Exception as error:  # noqa: BLE001 - whatever fields and lookups raise
            reason = f"{type(error).__name__}: {error}"
            yield _error(25, f"{at} does not fit {shop.model._meta.label}: {reason}", hint)


def _check_path(number: int, at: str, path: str, example: str) -> Iterator[CheckMessage]:
    hint = f'Write the dotted path of a function, such as "{example}".'
    try:
        function = import_string(path)
    except Exception as error:  # noqa: BLE001 - importing runs the shop's code
        reason = f"{type(error).__name__}: {error}"
        yield _error(number, f"{at} is {path!r:.80}, which cannot be imported: {reason}", hint)
    else:
        if not callable(function):
            yield _error(number, f"{at} is {path!r:.80}, which cannot be called.", hint)


def check_database_cascade(shop: Shop) -> Iterator[CheckMessage]:
    """Orders that the database deletes by itself, without signals (Django 6.1)."""
    cascade = getattr(models, "DB_CASCADE", None)
    model = shop.installed_model
    if cascade is None or model is None:
        return
    for field in model._meta.concrete_fields:
        if field.remote_field and field.remote_field.on_delete is cascade:
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
        yield CheckWarning(
            f"DATABASE_ROUTERS keep {model._meta.label} on {orders_at!r} but the mirror on"
            f" {mirror_at!r}: a deletion and the record of its removal cannot commit together.",
            hint="Let the router keep komfortkasse_django on the database of the orders, or accept"
            " that a crash right after the commit of a deletion loses its removal.",
            id="komfortkasse_django.W001",
        )


def check_urllib3() -> Iterator[CheckMessage]:
    """A fork that replaces urllib3 and does not keep to DEADLINE."""
    # Importing it takes time, so only where the fork is installed.
    if not find_spec("urllib3_future"):
        return
    version = import_module("urllib3").__version__
    # The versions of the fork end in 900 or more. It can also be installed beside urllib3.
    if re.fullmatch(r"\d+\.\d+\.9\d\d", version):
        yield CheckWarning(
            f"urllib3-future {version} has replaced urllib3: a call to Komfortkasse may"
            " take much longer than DEADLINE.",
            hint="Uninstall it (niquests depends on it) and install urllib3 again, or install it"
            " beside urllib3, as its documentation says under URLLIB3_NO_OVERRIDE.",
            id="komfortkasse_django.W003",
        )


def check_tasks(shop: Shop) -> Iterator[CheckMessage]:
    """A task backend or queue that does not exist."""
    at = _at(shop, "TASK_BACKEND")
    # The default of django-tasks. Since Django 6.0 the setting always exists.
    backends = getattr(settings, "TASKS", {"default": {"BACKEND": "ImmediateBackend"}})
    known = list(backends) if isinstance(backends, Mapping) else []
    if not (find_spec("django.tasks") or find_spec("django_tasks")):
        if shop.task_backend != "default":
            yield _error(
                14,
                f"{at} is {shop.task_backend!r:.40}, but there is no Tasks framework.",
                "Install django-tasks, which adds one to Django 5.2, or leave the key out.",
            )
    elif shop.task_backend not in known:
        yield _error(
            14,
            f"{at} is {shop.task_backend!r:.40}, which is not in TASKS.",
            f"Write one of {', '.join(map(repr, known)) or 'its aliases'}, or add it to TASKS.",
        )
    elif not isinstance(backends[shop.task_backend], Mapping):
        yield _error(
            14,
            f"{at} is {shop.task_backend!r}, which is not a dictionary in TASKS.",
            'Write TASKS = {"default": {"BACKEND": "..."}}.',
        )
    else:
        yield from _check_queue(shop, backends[shop.task_backend])


def _check_queue(shop: Shop, backend: Mapping[str, Any]) -> Iterator[CheckMessage]:
    queues = backend.get("QUEUES", ["default"])
    if not isinstance(queues, list | tuple | set | frozenset):
        hint = "Write a list of names as its QUEUES."
    elif queues and isinstance(shop.task_queue, str) and shop.task_queue not in [*queues]:
        hint = f"Write one of {', '.join(map(repr, queues))}."
    else:  # a backend without QUEUES accepts all of them
        return
    yield _error(
        15,
        f"{_at(shop, 'TASK_QUEUE')} is {shop.task_queue!r:.40}, which is not a queue of"
        f" TASKS[{shop.task_backend!r}].",
        hint,
    )


def _error(number: int, message: str, hint: str) -> Error:
    return Error(message, hint=hint, id=f"komfortkasse_django.E{number:03}")


def _at(shop: Shop, key: str) -> str:
    return f"KOMFORTKASSE[{shop.alias!r}][{key!r}]"


def _options(shop: Shop) -> Mapping[str, object]:
    options: Mapping[str, object] = settings.KOMFORTKASSE[shop.alias]
    return options
