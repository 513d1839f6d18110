"""The list of the mirror: its filters, and the counts and problems at its head."""

from typing import TYPE_CHECKING, Any, cast

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views import main
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from komfortkasse_django.conf import shops
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet
from komfortkasse_django.reports.reasons import obstacle, reason_of
from komfortkasse_django.reports.status import Kind, Status
from komfortkasse_django.reports.wording import money, payment_statuses, problem_in_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.admin import ModelAdmin
    from django.utils.functional import _StrOrPromise


State = RemovedOrder.State

# Filters. None of them asks the database for its choices.


class _Filter(SimpleListFilter):
    """Filters by the field that is the parameter's name, unless ``apply`` does otherwise."""

    parameter_name: str

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return (
            queryset if value is None else self.apply(cast("RemovedOrderQuerySet", queryset), value)
        )

    def apply(self, rows: RemovedOrderQuerySet, value: str) -> RemovedOrderQuerySet:
        return rows.filter(**{self.parameter_name: value})


class StateFilter(_Filter):
    title = pgettext_lazy("komfortkasse", "state")
    parameter_name = "state"

    def lookups(
        self, request: HttpRequest, model_admin: "ModelAdmin[Any]"
    ) -> "Iterable[tuple[str, _StrOrPromise]]":
        pending, *others = State.choices
        return [pending, ("overdue", pgettext_lazy("komfortkasse", "overdue")), *others]

    def apply(self, rows: RemovedOrderQuerySet, value: str) -> RemovedOrderQuerySet:
        if value == "overdue":
            return rows.overdue()
        return super().apply(rows, value)


class PaymentStatusFilter(_Filter):
    title = pgettext_lazy("komfortkasse", "payment status")
    parameter_name = "payment_status"

    def lookups(
        self, request: HttpRequest, model_admin: "ModelAdmin[Any]"
    ) -> "Iterable[tuple[str, _StrOrPromise]]":
        return [*payment_statuses().items(), ("other", pgettext_lazy("komfortkasse", "other"))]

    def apply(self, rows: RemovedOrderQuerySet, value: str) -> RemovedOrderQuerySet:
        if value == "other":
            return rows.exclude(payment_status__in=["", *payment_statuses()])
        return super().apply(rows, value)


class ReceivedFilter(_Filter):
    title = pgettext_lazy("komfortkasse", "money received")
    parameter_name = "received"

    def lookups(
        self, request: HttpRequest, model_admin: "ModelAdmin[Any]"
    ) -> "Iterable[tuple[str, _StrOrPromise]]":
        return [("yes", pgettext_lazy("komfortkasse", "Yes, refund needed"))]

    def apply(self, rows: RemovedOrderQuerySet, value: str) -> RemovedOrderQuerySet:
        return rows.to_refund()


class ShopFilter(_Filter):
    title = pgettext_lazy("komfortkasse", "shop")
    parameter_name = "shop"

    def lookups(
        self, request: HttpRequest, model_admin: "ModelAdmin[Any]"
    ) -> "Iterable[tuple[str, _StrOrPromise]]":
        # The shop that is asked for may be one that is not in the settings any more.
        aliases = dict.fromkeys([*shops(), *filter(None, [self.value()])])
        return [(alias, alias) for alias in aliases] if len(aliases) > 1 else []


class ChangeList(main.ChangeList):
    """Shows the whole list for filters that the database refuses, such as ``?shop=%00``."""

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
        except Exception as error:
            # Databases raise all sorts of errors. Without a filter the trouble has another cause.
            if not self.filter_params:
                raise
            raise IncorrectLookupParameters(error) from error


# The head


def counts_of(status: Status) -> list[tuple[str, str, str, bool]]:
    """What the head counts: number, label, the filter's query and whether it is bad."""
    labels = dict(State.choices)
    late = status.overdue_count
    numbers: list[tuple[int, _StrOrPromise, str, bool]] = [
        (status.in_state(State.PENDING), labels[State.PENDING], "state=pending", False),
        (late, pgettext_lazy("komfortkasse", "overdue"), "state=overdue", late > 0),
    ]
    for state in (State.FAILED, State.UNKNOWN, State.REMOVED):
        count = status.in_state(state)
        is_bad = count > 0 and state == State.FAILED
        numbers.append((count, labels[state], f"state={state}", is_bad))
    if status.refunds:
        amounts = [money(amount, currency) for currency, (_n, amount) in status.refunds.items()]
        label = _("removed although money had arrived: %(amounts)s") % {
            "amounts": ", ".join(amounts)
        }
        count = sum(count for count, _amount in status.refunds.values())
        numbers.append((count, label, "received=yes", True))
    return [
        (number_format(count, force_grouping=True), str(label), query, is_bad)
        for count, label, query, is_bad in numbers
    ]


def problems_of(status: Status) -> list[str]:
    """What is wrong, but for what is counted already, and which shops are paused."""
    problems = [problem for problem in status.problems if problem.kind != Kind.FAILED]
    told = {problem.shop for problem in problems}
    return [
        *(
            _with_advice(problem_in_words(problem, status), problem.kind)
            if problem.kind == Kind.WRONG_KEY
            else problem_in_words(problem, status)
            for problem in problems
        ),
        *(
            _with_advice(obstacle(alias, status.pauses), pause.error_code)
            for alias, pause in status.pauses.items()
            if alias not in told
        ),
    ]


def _with_advice(problem: str, error_code: str) -> str:
    return f"{problem}. {reason_of(error_code).advice}"
