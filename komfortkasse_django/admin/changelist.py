"""Filters of the mirror's list. None of them asks the database for its choices."""

from typing import TYPE_CHECKING, Any, cast

from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import pgettext_lazy

from komfortkasse_django.admin.markup import payment_statuses
from komfortkasse_django.conf import shops
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.admin import ModelAdmin
    from django.utils.functional import _StrOrPromise


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
        pending, *others = RemovedOrder.State.choices
        return [pending, ("overdue", pgettext_lazy("komfortkasse", "overdue")), *others]

    def apply(self, rows: RemovedOrderQuerySet, value: str) -> RemovedOrderQuerySet:
        if value == "overdue":
            return rows.overdue()
        if value == RemovedOrder.State.PENDING:
            # The same rows, but in the order of an index.
            return rows.pending().filter(next_attempt_at__isnull=False)
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
        return rows.filter(amount_paid__gt=0)


class RequestedViaFilter(_Filter):
    title = pgettext_lazy("komfortkasse", "requested via")
    parameter_name = "requested_via"

    def lookups(
        self, request: HttpRequest, model_admin: "ModelAdmin[Any]"
    ) -> "Iterable[tuple[str, _StrOrPromise]]":
        return RemovedOrder.RequestedVia.choices


class ShopFilter(_Filter):
    title = pgettext_lazy("komfortkasse", "shop")
    parameter_name = "shop"

    def lookups(
        self, request: HttpRequest, model_admin: "ModelAdmin[Any]"
    ) -> "Iterable[tuple[str, _StrOrPromise]]":
        # The shop that is asked for may be one that is not in the settings any more.
        aliases = dict.fromkeys([*shops(), *filter(None, [self.value()])])
        return [(alias, alias) for alias in aliases] if len(aliases) > 1 else []
