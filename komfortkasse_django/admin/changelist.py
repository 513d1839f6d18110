"""The list of the mirror: its filters, and what there is to do at its head."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views import main
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.translation import pgettext, pgettext_lazy

from komfortkasse_django.conf import shops
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet
from komfortkasse_django.reports.reasons import obstacle, reason_of
from komfortkasse_django.reports.status import Kind, Status
from komfortkasse_django.reports.wording import (
    cases_in_words,
    error_and_hint,
    hint,
    problem_in_words,
)

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.utils.functional import _StrOrPromise

State = RemovedOrder.State

_MOST_FOUND = 1000  # keys in one query

_Find = Callable[[RemovedOrderQuerySet], RemovedOrderQuerySet]
_TO_DO: "dict[str, tuple[_StrOrPromise, _Find]]" = {
    "all": (pgettext_lazy("komfortkasse", "everything to do"), RemovedOrderQuerySet.to_do),
    "to_refund": (pgettext_lazy("komfortkasse", "refunds"), RemovedOrderQuerySet.to_refund),
    "at_agency": (
        pgettext_lazy("komfortkasse", "at a collection agency"),
        RemovedOrderQuerySet.at_agency,
    ),
    "failed": (pgettext_lazy("komfortkasse", "failed"), RemovedOrderQuerySet.failed),
    "overdue": (pgettext_lazy("komfortkasse", "overdue"), RemovedOrderQuerySet.overdue),
    "alive_again": (pgettext_lazy("komfortkasse", "alive again"), RemovedOrderQuerySet.alive_again),
    "settled": (pgettext_lazy("komfortkasse", "settled"), RemovedOrderQuerySet.settled),
}


class ToDoFilter(SimpleListFilter):
    """What a person has to look at, all of it or a kind of it, and what was ticked off."""

    title = pgettext_lazy("komfortkasse", "task")
    parameter_name = "to_do"

    def lookups(
        self, request: HttpRequest, model_admin: "ModelAdmin[Any]"
    ) -> "Iterable[tuple[str, _StrOrPromise]]":
        return [(value, label) for value, (label, _find) in _TO_DO.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if (value := self.value()) not in _TO_DO:
            return queryset
        _label, find = _TO_DO[value]
        return find(cast("RemovedOrderQuerySet", queryset))


class ShopFilter(SimpleListFilter):
    """Does not ask the database for its choices, as Django's own would."""

    title = pgettext_lazy("komfortkasse", "shop")
    parameter_name = "shop"

    def lookups(
        self, request: HttpRequest, model_admin: "ModelAdmin[Any]"
    ) -> "Iterable[tuple[str, _StrOrPromise]]":
        # The shop that is asked for may be one that is not in the settings any more.
        aliases = dict.fromkeys([*shops(), *filter(None, [self.value()])])
        return [(alias, alias) for alias in aliases] if len(aliases) > 1 else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(shop=self.value())


class ChangeList(main.ChangeList):
    """Shows the whole list for filters that the database refuses, such as ``?shop=%00``."""

    def get_results(self, request: HttpRequest) -> None:
        try:
            if self.query:
                self._search()
            super().get_results(request)
            self._mark_taken_over()
        except Exception as error:
            # Databases raise all sorts of errors. Without a filter the trouble has another cause.
            if not self.filter_params:
                raise
            raise IncorrectLookupParameters(error) from error

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        ordering = [*dict.fromkeys(super().get_ordering(request, queryset))]
        # If only the number was asked for, equal numbers ascend as well: then MariaDB need not sort
        # all rows, but reads them from the index.
        if ordering == ["order_number", "-pk"] and "." not in self.params.get(main.ORDER_VAR, ""):
            return ["order_number", "pk"]
        return ordering

    def _search(self) -> None:
        """Look for the keys, so that all rows are read once.

        Django reads them twice, to count what it finds and to show it.
        """
        keys = self.queryset.order_by().values_list("pk", flat=True)[: _MOST_FOUND + 1]
        if len(found := list(keys)) <= _MOST_FOUND:
            self.queryset = self.queryset.filter(pk__in=found)

    def _mark_taken_over(self) -> None:
        """Set ``is_taken_over`` of the rows of the page. For all rows it would cost too much."""
        keys = [row.pk for row in self.result_list if row.settled_at]
        rows = RemovedOrder.objects.using(self.queryset.db).filter(pk__in=keys)
        found = set(rows.taken_over().values_list("pk", flat=True))
        for row in self.result_list:
            row.is_taken_over = row.pk in found


# The head


def to_do_of(status: Status) -> list[tuple[str, str]]:
    """What there is to do, worst first: in words, and the filter's query."""
    kinds = {
        "failed": _count(status.in_state(State.FAILED), State.FAILED.label),
        "overdue": _count(status.overdue_count, pgettext("komfortkasse", "overdue")),
        **cases_in_words(status),
    }
    return [(words, f"to_do={value}") for value in _TO_DO if (words := kinds.get(value))]


def counts_of(status: Status) -> list[tuple[str, str]]:
    """How many are in which state: in words, and the filter's query."""
    states = (State.PENDING, State.REMOVED, State.UNKNOWN, State.SUPERSEDED)
    return [
        (words, f"state__exact={state}")
        for state in states
        if (words := _count(status.in_state(state), state.label))
    ]


def _count(count: int, label: "_StrOrPromise") -> str:
    return f"{number_format(count, force_grouping=True)} {label}" if count else ""


def problems_of(status: Status) -> Iterator[tuple[str, str]]:
    """What is wrong, but for what is counted already, and which shops are paused.

    First for staff, then for those who look after the website.
    """
    problems = [problem for problem in status.problems if problem.kind != Kind.FAILED]
    for problem in problems:
        failing = status.failing.get(problem.shop)
        details = hint(problem, status) or (error_and_hint(failing) if failing else "")
        words = f"{problem_in_words(problem, status)}."
        if problem.kind == Kind.WRONG_KEY:
            words = f"{words} {reason_of(problem.kind).advice}"
        yield words, details
    told = {problem.shop for problem in problems}
    for alias, pause in status.pauses.items():
        if alias not in told:
            advice = reason_of(pause.error_code).advice
            yield f"{obstacle(alias, status.pauses)}. {advice}", error_and_hint(pause)
