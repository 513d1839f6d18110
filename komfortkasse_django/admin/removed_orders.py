"""The mirror in Django's admin: to be read, and to try again what is not removed yet."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.utils import flatten_fieldsets, quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext_lazy

from komfortkasse_django.admin.actions import retry_removals
from komfortkasse_django.admin.changelist import (
    ChangeList,
    PaymentStatusFilter,
    ReceivedFilter,
    ShopFilter,
    StateFilter,
    counts_of,
    problems_of,
)
from komfortkasse_django.admin.markup import badge, exact_and_from_now, received, time_from_now
from komfortkasse_django.admin.orders import order_links
from komfortkasse_django.conf import shops
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet
from komfortkasse_django.reports.reasons import reason_of
from komfortkasse_django.reports.status import read_pauses, read_status
from komfortkasse_django.reports.wording import money, next_step, outcome, payment_status

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.admin.options import _FieldsetSpec, _ListDisplayT
    from django.utils.functional import _StrOrPromise

    ModelAdmin = admin.ModelAdmin[RemovedOrder]
else:
    ModelAdmin = admin.ModelAdmin

State = RemovedOrder.State


@admin.register(RemovedOrder)
class RemovedOrderAdmin(ModelAdmin):
    """Read-only, except that removals can be tried again and finished ones can be deleted."""

    actions = ("try_again", "delete_selected")
    list_filter = (
        StateFilter,
        PaymentStatusFilter,
        ReceivedFilter,
        ShopFilter,
    )
    search_fields = ("order_number", "reference_number")
    search_help_text = _("Search by order number or reference number.")
    ordering = ("-pk",)
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

    def has_try_again_permission(
        self, request: HttpRequest, obj: RemovedOrder | None = None
    ) -> bool:
        return self.has_view_permission(request, obj) and request.user.has_perm(
            "komfortkasse_django.remove_order"
        )

    # The list

    def get_list_display(self, request: HttpRequest) -> "_ListDisplayT[RemovedOrder]":
        shop = ["shop"] if len(shops()) > 1 else []
        return [
            "order_number",
            *shop,
            "state_badge",
            "payment_status_label",
            "reference_number",
            "amount_with_currency",
            "received",
            "next_attempt",
            "requested",
        ]

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
                "counts": counts_of(status),
                "problems": problems_of(status),
            },
        )

    @admin.display(description=pgettext_lazy("komfortkasse", "state"))
    def state_badge(self, row: RemovedOrder) -> SafeString:
        return badge(row.state)

    @admin.display(description=pgettext_lazy("komfortkasse", "payment status"))
    def payment_status_label(self, row: RemovedOrder) -> str:
        return payment_status(row.payment_status) or self.get_empty_value_display()

    @admin.display(description=pgettext_lazy("komfortkasse", "amount"))
    def amount_with_currency(self, row: RemovedOrder) -> str:
        if row.amount is None:
            return self.get_empty_value_display()
        return money(row.amount, row.currency)

    @admin.display(description=pgettext_lazy("komfortkasse", "amount paid"))
    def received(self, row: RemovedOrder) -> str:
        return received(row) or self.get_empty_value_display()

    # In the order of the primary key: rows are only appended, and there is an index for it.
    @admin.display(description=pgettext_lazy("komfortkasse", "requested"), ordering="pk")
    def requested(self, row: RemovedOrder) -> SafeString:
        return format_html("{}, {}", row.get_requested_via_display(), time_from_now(row.created_at))

    @admin.display(description=pgettext_lazy("komfortkasse", "next attempt"))
    def next_attempt(self, row: RemovedOrder) -> str:
        if row.next_attempt_at is None:
            return self.get_empty_value_display()
        return time_from_now(row.next_attempt_at)

    # A single removal

    def get_fieldsets(
        self, request: HttpRequest, obj: RemovedOrder | None = None
    ) -> "_FieldsetSpec":
        assert obj is not None  # noqa: S101 - nothing can be added
        shop = ["shop"] if len(shops()) > 1 or obj.shop not in shops() else []
        answer = []
        if obj.state == State.REMOVED:
            answer = [
                "payment_status_label",
                "reference_number",
                "amount_with_currency",
                "received",
            ]
        finished = ["finished"] if obj.is_finished and obj.finished_at else []
        fieldsets: list[tuple[_StrOrPromise | None, Any]] = [
            (
                pgettext_lazy("komfortkasse", "What happened"),
                {"fields": ["order_number", *shop, "requested_how", "requested_when", "attempts"]},
            ),
            (
                _("What Komfortkasse says"),
                {"fields": ["state_badge", "outcome", *answer, *finished]},
            ),
            (pgettext_lazy("komfortkasse", "What happens next"), {"fields": ["next_step"]}),
        ]
        if obj.last_error:
            fieldsets.append(
                (pgettext_lazy("komfortkasse", "Last error"), {"fields": ["last_error", "advice"]})
            )
        return fieldsets

    def get_readonly_fields(
        self, request: HttpRequest, obj: RemovedOrder | None = None
    ) -> list[str]:
        return flatten_fieldsets(self.get_fieldsets(request, obj))

    @admin.display(description=pgettext_lazy("komfortkasse", "requested via"))
    def requested_how(self, row: RemovedOrder) -> str:
        return row.get_requested_via_display()

    @admin.display(description=pgettext_lazy("komfortkasse", "requested at"))
    def requested_when(self, row: RemovedOrder) -> SafeString:
        return exact_and_from_now(row.created_at)

    @admin.display(description=pgettext_lazy("komfortkasse", "finished at"))
    def finished(self, row: RemovedOrder) -> SafeString:
        return exact_and_from_now(cast("datetime", row.finished_at))

    @admin.display(description=pgettext_lazy("komfortkasse", "outcome"))
    def outcome(self, row: RemovedOrder) -> str:
        return outcome(row)

    @admin.display(description=pgettext_lazy("komfortkasse", "next step"))
    def next_step(self, row: RemovedOrder) -> str:
        return next_step(row, read_pauses(cast("str", row._state.db)))

    @admin.display(description=pgettext_lazy("komfortkasse", "meaning"))
    def advice(self, row: RemovedOrder) -> str:
        return str(reason_of(row.error_code).advice)

    def render_change_form(  # noqa: PLR0917 - as Django has it
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,  # noqa: FBT001, FBT002
        change: bool = False,  # noqa: FBT001, FBT002
        form_url: str = "",
        obj: RemovedOrder | None = None,
    ) -> HttpResponse:
        context["title"] = capfirst(self.opts.verbose_name)
        context["try_again"] = (
            obj is not None
            and obj.state in RemovedOrder.RETRIABLE
            and self.has_try_again_permission(request, obj)
        )
        if obj is not None:
            context["order_links"] = order_links(obj, request, self.admin_site)
        return super().render_change_form(request, context, add, change, form_url, obj)

    # Trying again

    @admin.action(
        description=_("Try again to remove the selected orders"), permissions=["try_again"]
    )
    def try_again(self, request: HttpRequest, queryset: RemovedOrderQuerySet) -> None:
        retry_removals(request, queryset)

    def try_again_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Try a single row again, and return to its page."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        if not self.has_try_again_permission(request, row):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        retry_removals(request, RemovedOrder.objects.filter(pk=row.pk))
        page = reverse(
            "admin:komfortkasse_django_removedorder_change",
            args=[quote(row.pk)],
            current_app=self.admin_site.name,
        )
        return HttpResponseRedirect(page)

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<path:object_id>/try-again/",
                self.admin_site.admin_view(self.try_again_view),
                name="komfortkasse_django_removedorder_try_again",
            ),
            *super().get_urls(),
        ]

    # Deletion

    @admin.action(description=_("Delete selected %(verbose_name_plural)s"), permissions=["delete"])
    def delete_selected(
        self, request: HttpRequest, queryset: RemovedOrderQuerySet
    ) -> HttpResponse | None:
        unfinished = queryset.unfinished().count()
        if unfinished:
            text = ngettext(
                "%(count)d removal is left out, because it is not finished.",
                "%(count)d removals are left out, because they are not finished.",
                unfinished,
            )
            self.message_user(request, text % {"count": unfinished}, messages.WARNING)
        finished = queryset.finished()
        return delete_selected(self, request, finished) if finished.exists() else None
