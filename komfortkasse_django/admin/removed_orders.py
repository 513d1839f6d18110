"""The mirror in Django's admin: to be read, to be settled, and to try again what is not removed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.actions import delete_selected
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext, pgettext_lazy

from komfortkasse_django.admin.actions import (
    MAX_NOTE_LENGTH,
    finished_only,
    retry_removals,
    seen_at,
    settle_removals,
    unsettle_removals,
)
from komfortkasse_django.admin.changelist import (
    ChangeList,
    ShopFilter,
    ToDoFilter,
    counts_of,
    problems_of,
    to_do_of,
)
from komfortkasse_django.admin.confirmation import page_context, same_action
from komfortkasse_django.admin.export import csv_of
from komfortkasse_django.admin.markup import (
    isolated,
    short_badge,
    time_from_now,
    to_settle,
    two_lines,
)
from komfortkasse_django.admin.removal_page import RemovalPage
from komfortkasse_django.conf import shops
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet
from komfortkasse_django.reports.status import read_status
from komfortkasse_django.reports.wording import from_now, money, telling_status

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT

_NAMED = 20  # removals that the page names before they are settled


@admin.register(RemovedOrder)
class RemovedOrderAdmin(RemovalPage):
    """Read-only, but removals can be tried again and settled, and finished ones be deleted."""

    actions = ("settle", "unsettle", "try_again", "export", "delete_selected")
    list_filter = (ToDoFilter, ("settled_at", admin.DateFieldListFilter), "state", ShopFilter)
    search_fields = ("order_number", "reference_number")
    search_help_text = _("Search by order number or reference number.")
    ordering = ("-pk",)
    empty_value_display = ""
    list_per_page = 50
    # Either would count the whole table once more.
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    class Media:
        css: dict[str, Sequence[str]] = {"all": ["komfortkasse_django/admin.css"]}  # noqa: RUF012

    # What may be done

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: RemovedOrder | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: RemovedOrder | None = None) -> bool:
        may_be_finished = obj is None or obj.is_finished
        return may_be_finished and super().has_delete_permission(request, obj)

    # The list

    def get_list_display(self, request: HttpRequest) -> "_ListDisplayT[RemovedOrder]":
        shop = ["shop"] if len(shops()) > 1 else []
        return ["number", *shop, "state_and_more", "to_do", "amounts", "requested"]

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> type[ChangeList]:
        return ChangeList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        status = read_status(self.get_queryset(request).db)
        return super().changelist_view(
            request,
            extra_context={
                "title": capfirst(self.opts.verbose_name_plural),
                **(extra_context or {}),
                "to_do_count": status.to_do,
                "to_do": to_do_of(status),
                "counts": counts_of(status),
                "problems": list(problems_of(status)),
            },
        )

    @admin.display(
        description=pgettext_lazy("komfortkasse", "order number"), ordering="order_number"
    )
    def number(self, row: RemovedOrder) -> SafeString:
        return two_lines(row.order_number, row.reference_number)

    @admin.display(description=pgettext_lazy("komfortkasse", "state"))
    def state_and_more(self, row: RemovedOrder) -> SafeString:
        more = telling_status(row)
        if row.next_attempt_at and row.next_attempt_at > timezone.now():
            more = pgettext("komfortkasse", "again %(when)s") % {
                "when": from_now(row.next_attempt_at)
            }
        return two_lines(short_badge(row), more)

    @admin.display(description=pgettext_lazy("komfortkasse", "to do"))
    def to_do(self, row: RemovedOrder) -> SafeString:
        if row.is_unsettled or not row.settled_at:
            return to_settle(row)
        if row.is_taken_over:  # type: ignore[attr-defined] # the list sets it
            return isolated(pgettext("komfortkasse", "see the later removal"))
        settled = pgettext("komfortkasse", "settled")
        return format_html("<bdi>{} {}</bdi>", settled, time_from_now(row.settled_at))

    @admin.display(description=pgettext_lazy("komfortkasse", "amount"))
    def amounts(self, row: RemovedOrder) -> SafeString:
        lines = [] if row.amount is None else [money(row.amount, row.currency)]
        if row.amount_paid:
            paid = money(row.amount_paid, row.currency)
            lines.append(pgettext("komfortkasse", "paid: %(amount)s") % {"amount": paid})
        return two_lines(*lines)

    # In the order of the primary key: rows are only appended, and there is an index for it.
    @admin.display(description=pgettext_lazy("komfortkasse", "requested"), ordering="pk")
    def requested(self, row: RemovedOrder) -> SafeString:
        return time_from_now(row.created_at)

    # Actions

    @admin.action(
        description=pgettext_lazy("komfortkasse", "Settle the selected orders"),
        permissions=["remove_order"],
    )
    def settle(self, request: HttpRequest, queryset: RemovedOrderQuerySet) -> HttpResponse | None:
        if seen_at(request):
            settle_removals(request, queryset)
            return None
        rows = queryset.unsettled()
        count = rows.count()
        context = {
            **page_context(
                self, request, pgettext_lazy("komfortkasse", "Settle the selected orders")
            ),
            "media": self.media,
            "count": count,
            "named": [(row.order_number, to_settle(row)) for row in rows[:_NAMED]],
            "more": count - _NAMED,
            "again": same_action(request, "settle"),
            "seen_at": timezone.now().isoformat(),
            "max_note_length": MAX_NOTE_LENGTH,
            "cancel_url": request.get_full_path(),
        }
        return TemplateResponse(request, "komfortkasse_django/settle.html", context)

    @admin.action(
        description=_("Take back that the selected orders are settled"),
        permissions=["remove_order"],
    )
    def unsettle(self, request: HttpRequest, queryset: RemovedOrderQuerySet) -> None:
        unsettle_removals(request, queryset)

    @admin.action(
        description=_("Try again to remove the selected orders"), permissions=["remove_order"]
    )
    def try_again(self, request: HttpRequest, queryset: RemovedOrderQuerySet) -> None:
        retry_removals(request, queryset)

    @admin.action(description=_("Export the selected orders as CSV"), permissions=["view"])
    def export(self, request: HttpRequest, queryset: RemovedOrderQuerySet) -> HttpResponseBase:
        return csv_of(queryset)

    @admin.action(description=_("Delete selected %(verbose_name_plural)s"), permissions=["delete"])
    def delete_selected(
        self, request: HttpRequest, queryset: RemovedOrderQuerySet
    ) -> HttpResponse | None:
        finished = finished_only(request, queryset)
        return delete_selected(self, request, finished) if finished.exists() else None
