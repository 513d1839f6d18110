"""The page of one removal: what there is to do, what Komfortkasse says, and what happened."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from komfortkasse_django.admin.actions import (
    MAX_NOTE_LENGTH,
    retry_removals,
    settle_removals,
    unsettle_removals,
)
from komfortkasse_django.admin.links import admin_url, order_links
from komfortkasse_django.admin.markup import badge, exact_and_from_now, isolated
from komfortkasse_django.conf import shops
from komfortkasse_django.models import RemovedOrder, RemovedOrderQuerySet
from komfortkasse_django.reports.status import read_pauses
from komfortkasse_django.reports.wording import (
    money,
    next_steps,
    outcome,
    technical,
    telling_status,
)

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.admin.options import _FieldsetSpec
    from django.utils.functional import _StrOrPromise

    _Base = admin.ModelAdmin[RemovedOrder]
else:
    _Base = admin.ModelAdmin

_SAME_ORDER = 100  # removals of an order that are looked at: the latest


class RemovalPage(_Base):
    """Shows one removal. Whoever inherits from it says who may do what."""

    def has_remove_order_permission(
        self, request: HttpRequest, obj: RemovedOrder | None = None
    ) -> bool:
        """Whether the user may try again and settle."""
        return self.has_view_permission(request, obj) and request.user.has_perm(
            "komfortkasse_django.remove_order"
        )

    def get_fieldsets(
        self, request: HttpRequest, obj: RemovedOrder | None = None
    ) -> "_FieldsetSpec":
        assert obj is not None  # noqa: S101 - nothing can be added
        shop = ["shop"] if len(shops()) > 1 or obj.shop not in shops() else []
        says = ["state_badge", "outcome", *_answered(obj)]
        happened = ["order_number", *shop, "requested_how", "requested_when", "attempts"]
        fieldsets: list[tuple[_StrOrPromise | None, Any]] = [
            (_("What Komfortkasse says"), {"fields": says}),
            (pgettext_lazy("komfortkasse", "What happened"), {"fields": happened}),
        ]
        return fieldsets

    def get_readonly_fields(
        self, request: HttpRequest, obj: RemovedOrder | None = None
    ) -> list[str]:
        return flatten_fieldsets(self.get_fieldsets(request, obj))

    @admin.display(description=pgettext_lazy("komfortkasse", "state"))
    def state_badge(self, row: RemovedOrder) -> SafeString:
        return badge(row)

    @admin.display(description=pgettext_lazy("komfortkasse", "outcome"))
    def outcome(self, row: RemovedOrder) -> str:
        return isolated(outcome(row))

    @admin.display(description=pgettext_lazy("komfortkasse", "payment status"))
    def payment_status_label(self, row: RemovedOrder) -> str:
        return isolated(telling_status(row))

    @admin.display(description=pgettext_lazy("komfortkasse", "amount"))
    def amount_with_currency(self, row: RemovedOrder) -> str:
        return isolated(money(row.amount, row.currency)) if row.amount is not None else ""

    @admin.display(description=pgettext_lazy("komfortkasse", "amount paid"))
    def paid_with_currency(self, row: RemovedOrder) -> str:
        return isolated(money(row.amount_paid, row.currency)) if row.amount_paid is not None else ""

    @admin.display(description=pgettext_lazy("komfortkasse", "finished at"))
    def finished(self, row: RemovedOrder) -> SafeString:
        return exact_and_from_now(cast("datetime", row.finished_at))

    @admin.display(description=pgettext_lazy("komfortkasse", "requested via"))
    def requested_how(self, row: RemovedOrder) -> str:
        return row.get_requested_via_display()  # one that this version does not know as it is

    @admin.display(description=pgettext_lazy("komfortkasse", "requested at"))
    def requested_when(self, row: RemovedOrder) -> SafeString:
        return exact_and_from_now(row.created_at)

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
        assert obj is not None  # noqa: S101 - nothing can be added
        context |= _what_to_do(obj, may_act=self.has_remove_order_permission(request, obj))
        context["order_links"] = order_links(obj, request, self.admin_site)
        return super().render_change_form(request, context, add, change, form_url, obj)

    # What can be done here

    def get_urls(self) -> list[URLPattern]:
        deeds = {
            "try_again": retry_removals,
            "settle": settle_removals,
            "unsettle": unsettle_removals,
        }
        return [
            *(
                path(
                    f"<path:object_id>/{name.replace('_', '-')}/",
                    self.admin_site.admin_view(self.act_view),
                    {"act": act},
                    name=f"komfortkasse_django_removedorder_{name}",
                )
                for name, act in deeds.items()
            ),
            *super().get_urls(),
        ]

    def act_view(
        self,
        request: HttpRequest,
        object_id: str,
        act: Callable[[HttpRequest, RemovedOrderQuerySet], None],
    ) -> HttpResponse:
        """Do something about a single row, and return to its page."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        if not self.has_remove_order_permission(request, row):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        act(request, RemovedOrder.objects.filter(pk=row.pk))
        return HttpResponseRedirect(admin_url(self, "change", row))


def _answered(row: RemovedOrder) -> list[str]:
    """The fields that say something."""
    values: dict[str, object] = {
        "payment_status_label": telling_status(row),
        "reference_number": row.reference_number,
        "amount_with_currency": row.amount is not None,
        "paid_with_currency": row.amount_paid is not None,
        "dunning_level": row.dunning_level is not None,
        "collection_partner": row.collection_partner,
        "collection_file": row.collection_file,
        "collection_status": row.collection_status,
        "finished": row.finished_at and row.next_attempt_at is None,
    }
    return [name for name, value in values.items() if value]


def _what_to_do(row: RemovedOrder, *, may_act: bool) -> dict[str, object]:
    """What the page says above the fields, for its template."""
    using = cast("str", row._state.db)
    mirror = RemovedOrder.objects.using(using)
    removed = mirror.removed().filter(shop=row.shop, order_number=row.order_number)
    same = list(removed.order_by("-finished_at", "-pk")[:_SAME_ORDER])
    is_taken_over = mirror.filter(pk=row.pk).taken_over().exists()
    settled_at = None if row.is_unsettled or is_taken_over else row.settled_at
    return {
        "steps": next_steps(row, read_pauses(using)),
        "later": same[0] if is_taken_over else None,
        "settled_at": settled_at and exact_and_from_now(settled_at),
        "settled_by": settled_at and _settled_by(settled_at, same),
        "technical": technical(row),
        "seen_at": timezone.now().isoformat(),
        "max_note_length": MAX_NOTE_LENGTH,
        "may_try_again": may_act and row.state in RemovedOrder.RETRIABLE,
        "may_settle": may_act and row.is_unsettled,
        "may_unsettle": may_act and settled_at is not None,
    }


def _settled_by(settled_at: "datetime", same: Sequence[RemovedOrder]) -> dict[str, str] | None:
    """Who settled it, and the note, from the admin's log.

    It may have been an earlier removal of the order that was settled. What the shop's own code
    settled is not in the log.
    """
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(RemovedOrder),
        object_id__in=[str(row.pk) for row in same],
        action_time__range=(settled_at, settled_at + timedelta(minutes=1)),
    )
    entry = entries.select_related("user").order_by("action_time").first()
    if entry is None:
        return None
    who = entry.user.get_full_name() or entry.user.get_username()
    return {"who": who, "note": entry.change_message.partition(": ")[2]}
