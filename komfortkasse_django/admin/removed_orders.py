"""The mirror in Django's admin: to be read, and to try again what is not removed yet."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import flatten_fieldsets, quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import router, transaction
from django.db.models import Q, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.urls import URLPattern, path, reverse
from django.utils.formats import number_format
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext, npgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from komfortkasse_django import explanations
from komfortkasse_django.admin import markup
from komfortkasse_django.admin.actions import report
from komfortkasse_django.admin.changelist import (
    PaymentStatusFilter,
    ReceivedFilter,
    RequestedViaFilter,
    ShopFilter,
    StateFilter,
)
from komfortkasse_django.conf import enabled_shops, shops
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet
from komfortkasse_django.queue.delivery import deliver_on_commit
from komfortkasse_django.reports import status as overview
from komfortkasse_django.reports.reasons import trouble_of
from komfortkasse_django.reports.wording import obstacle

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.admin.options import _FieldsetSpec, _ListDisplayT
    from django.utils.functional import _StrOrPromise

    ModelAdmin = admin.ModelAdmin[RemovedOrder]
else:
    ModelAdmin = admin.ModelAdmin

State = RemovedOrder.State


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than to ``MOST``, and leads no further."""

    MOST = 10_000

    @cached_property
    def _counted(self) -> int:
        rows: QuerySet[RemovedOrder] = self.object_list  # type: ignore[assignment]
        return rows.order_by()[: self.MOST + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._counted, self.MOST)

    @property
    def has_more(self) -> bool:
        """Whether there are rows beyond the last page."""
        return self._counted > self.MOST


class IndexedChangeList(ChangeList):
    """Sorts as the indexes do, so that nothing is sorted for a page."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        column, *others = super().get_ordering(request, queryset)
        # Django has the newest first among equals, also where the column ascends.
        is_ascending = not str(column).startswith("-")
        return [column, *("pk" if is_ascending and name == "-pk" else name for name in others)]


@admin.register(RemovedOrder)
class RemovedOrderAdmin(ModelAdmin):
    """Read-only, but for trying again and for the deletion of what is finished."""

    actions = ("try_again", "delete_selected")
    list_filter = (
        StateFilter,
        PaymentStatusFilter,
        ReceivedFilter,
        RequestedViaFilter,
        ShopFilter,
    )
    # Searched by get_search_results; without them there would be no search field.
    search_fields = ("order_number", "reference_number")
    search_help_text = _("Search by the whole order number or reference number.")
    # What no index sorts would be sorted anew for each page.
    sortable_by = ("order_number", "reference_number", "requested")
    paginator = BoundedPaginator
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each would count the whole table

    class Media:
        css: dict[str, Sequence[str]] = {"all": ["komfortkasse_django/admin.css"]}  # noqa: RUF012

    # What may be done

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: RemovedOrder | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: RemovedOrder | None = None) -> bool:
        may_be_finished = obj is None or obj.state in RemovedOrder.FINISHED
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

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        # What is still to be sent has an index of when.
        if request.GET.get("state") in {"pending", "overdue"}:
            return ("next_attempt_at", "pk")
        return ("-pk",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ANN401
        return IndexedChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[RemovedOrder], search_term: str
    ) -> tuple[QuerySet[RemovedOrder], bool]:
        term = search_term.strip()
        if term:
            # Whole numbers only: for parts of them no index helps on every database.
            terms = {search_term, term, term.upper(), term.lower()}
            queryset = queryset.filter(Q(order_number__in=terms) | Q(reference_number__in=terms))
        return queryset, False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        counted = overview.overview(self.get_queryset(request).db)
        return super().changelist_view(
            request,
            extra_context={
                "title": capfirst(self.opts.verbose_name_plural),
                **(extra_context or {}),
                "counts": _counts(counted),
                "problems": _problems(counted),
            },
        )

    @admin.display(description=pgettext_lazy("komfortkasse", "state"))
    def state_badge(self, row: RemovedOrder) -> SafeString:
        return markup.badge(row.state)

    @admin.display(description=pgettext_lazy("komfortkasse", "payment status"))
    def payment_status_label(self, row: RemovedOrder) -> str:
        return markup.payment_status(row.payment_status) or self.get_empty_value_display()

    @admin.display(description=pgettext_lazy("komfortkasse", "amount"))
    def amount_with_currency(self, row: RemovedOrder) -> str:
        if row.amount is None:
            return self.get_empty_value_display()
        return markup.money(row.amount, row.currency)

    @admin.display(description=pgettext_lazy("komfortkasse", "amount paid"))
    def received(self, row: RemovedOrder) -> str:
        return markup.received(row) or self.get_empty_value_display()

    # In the order of the primary key: rows are only appended, and there is an index for it.
    @admin.display(description=pgettext_lazy("komfortkasse", "requested"), ordering="pk")
    def requested(self, row: RemovedOrder) -> SafeString:
        return format_html(
            "{}, {}", row.get_requested_via_display(), markup.time_ago(row.created_at)
        )

    @admin.display(description=pgettext_lazy("komfortkasse", "next attempt"))
    def next_attempt(self, row: RemovedOrder) -> str:
        if row.next_attempt_at is None:
            return self.get_empty_value_display()
        return markup.time_ahead(row.next_attempt_at)

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
        finished = ["finished"] if obj.finished_at else []
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
        return markup.exact_and_ago(row.created_at)

    @admin.display(description=pgettext_lazy("komfortkasse", "finished at"))
    def finished(self, row: RemovedOrder) -> SafeString:
        return markup.exact_and_ago(cast("datetime", row.finished_at))

    @admin.display(description=pgettext_lazy("komfortkasse", "outcome"))
    def outcome(self, row: RemovedOrder) -> str:
        return explanations.outcome(row)

    @admin.display(description=pgettext_lazy("komfortkasse", "next step"))
    def next_step(self, row: RemovedOrder) -> str:
        return explanations.next_step(row, overview.pauses(cast("str", row._state.db)))

    @admin.display(description=pgettext_lazy("komfortkasse", "meaning"))
    def advice(self, row: RemovedOrder) -> str:
        return str(trouble_of(row.last_error).advice)

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
            and obj.state in RemovedOrder.UNFINISHED
            and self.has_try_again_permission(request, obj)
        )
        return super().render_change_form(request, context, add, change, form_url, obj)

    def response_action(
        self,
        request: HttpRequest,
        queryset: QuerySet[Any],
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> HttpResponse | None:
        """Do nothing to all of them where the page could not say how many that are."""
        if request.POST.get("select_across") == "1":
            paginator = BoundedPaginator(queryset, self.list_per_page)
            if paginator.has_more:
                text = _("There are more than %(count)s of them. Use the filters to select fewer.")
                count = number_format(paginator.count, force_grouping=True)
                self.message_user(request, text % {"count": count}, messages.ERROR)
                return None
        return super().response_action(request, queryset, *args, **kwargs)

    # Trying again

    @admin.action(
        description=_("Try again to remove the selected orders"), permissions=["try_again"]
    )
    def try_again(self, request: HttpRequest, queryset: RemovedOrderQuerySet) -> None:
        self._try_again(request, queryset)

    def try_again_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Try a single row again, and return to its page."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        if not self.has_try_again_permission(request, row):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self._try_again(request, RemovedOrder.objects.filter(pk=row.pk))
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

    def _try_again(self, request: HttpRequest, selected: RemovedOrderQuerySet) -> None:
        using = router.db_for_write(RemovedOrder)
        rows = list(selected.using(using).unfinished())
        keys: dict[str, list[int]] = defaultdict(list)
        aliases = {shop.alias for shop in enabled_shops()}
        for row in rows:
            if row.shop in aliases:
                keys[row.shop].append(row.pk)

        def tell() -> None:
            report(request, [row.pk for row in rows], using=using)

        with transaction.atomic(using):
            selected.using(using).retry()
            LogEntry.objects.log_actions(
                cast("int", request.user.pk), rows, CHANGE, gettext("Tried again to remove it.")
            )
            deliver_on_commit(keys, using=using)
            # After the delivery, which also waits for the commit.
            transaction.on_commit(tell, using=using, robust=True)

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


def _counts(counted: overview.Overview) -> list[tuple[str, str, str, bool]]:
    """What the list's head counts: number, label, the filter's query and whether it is bad."""
    labels = dict(State.choices)
    late = sum(overdue.count for overdue in counted.overdue.values())
    numbers: list[tuple[int, _StrOrPromise, str, bool]] = [
        (counted.states.get(State.PENDING, 0), labels[State.PENDING], "state=pending", False),
        (late, pgettext_lazy("komfortkasse", "overdue"), "state=overdue", late > 0),
    ]
    for state in (State.FAILED, State.UNKNOWN, State.REMOVED):
        count = counted.states.get(state, 0)
        is_bad = count > 0 and state == State.FAILED
        numbers.append((count, labels[state], f"state={state}", is_bad))
    amounts = [
        markup.money(amount, currency) for currency, (_n, amount) in counted.received.items()
    ]
    if amounts:
        label = _("removed although money had arrived: %(amounts)s") % {
            "amounts": ", ".join(amounts)
        }
        count = sum(count for count, _amount in counted.received.values())
        numbers.append((count, label, "received=yes", True))
    return [
        (number_format(count, force_grouping=True), str(label), query, is_bad)
        for count, label, query, is_bad in numbers
    ]


def _problems(counted: overview.Overview) -> list[str]:
    """What keeps removals from being sent, and what to do about it."""
    problems = []
    for alias, overdue in counted.overdue.items():
        text = npgettext(
            "komfortkasse",
            "%(count)d removal is overdue: %(reason)s.",
            "%(count)d removals are overdue: %(reason)s.",
            overdue.count,
        )
        reason = obstacle(alias, counted.pauses) or (
            gettext("is komfortkasse_push running? It should be run every minute")
            if overdue.is_due
            else gettext("the page of each says why")
        )
        problems.append(text % {"count": overdue.count, "reason": reason})
    problems += [
        obstacle(alias, counted.pauses) for alias in counted.pauses if alias not in counted.overdue
    ]
    return problems
