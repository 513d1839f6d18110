"""The mirror: the removals that were asked for, and Komfortkasse's answers. No personal data."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from django.db import connections, models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from komfortkasse_django.api.rules import MAX_NUMBER_LENGTH

if TYPE_CHECKING:
    from decimal import Decimal

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.backends.ddl_references import Statement
    from django.utils.functional import _StrOrPromise, _StrPromise

ALL_UNKNOWN = 10
"""After how many unknown orders in a row the settings must be wrong."""

OVERDUE_AFTER = timedelta(hours=1)
"""How long a removal may be pending before it is overdue, counted from the request."""

REFUNDED = "REFUNDED"
"""The payment status of an order whose money went back to the customer."""

DISAPPEARED = "DISAPPEARED"
"""The payment status of an order that was removed, if nothing else is to be said of it."""

IN_COLLECTION = "COLLECTION"
"""The payment status of an order that a collection agency has."""

HAS_MONEY = models.Q(amount_paid__gt=0) & ~models.Q(payment_status=REFUNDED)
"""Money had arrived, and Komfortkasse did not show it as refunded."""

AT_AGENCY = (
    models.Q(payment_status=IN_COLLECTION)
    | models.Q(collection_partner__gt="")
    | models.Q(collection_file__gt="")
    | models.Q(collection_status__gt="")
)
"""A collection agency is at work. The contract has these attributes only while one is."""

_UNSETTLED = (models.Q(settled_at=None) & (HAS_MONEY | AT_AGENCY)) | (
    # If it is found alive after it was settled, it is a new case.
    models.Q(alive_again_at__isnull=False)
    & (models.Q(settled_at=None) | models.Q(settled_at__lt=models.F("alive_again_at")))
)

_IS_UNSETTLED = models.Case(
    models.When(_UNSETTLED, then=True),
    models.When(settled_at__isnull=False, then=False),
    default=None,
)

_BATCH = 1000  # rows per INSERT

# From one parameter, an array in JSON, to a row for each of its texts, by ``connection.vendor``.
_ROWS = {
    "sqlite": "json_each(%s)",
    "postgresql": "json_array_elements_text(%s::json) AS numbers (value)",
    # MariaDB and MySQL. TEXT, because a VARCHAR would cut off what is too long for it.
    "mysql": (
        "JSON_TABLE(%s, '$[*]' COLUMNS"
        " (value TEXT CHARACTER SET utf8mb4 PATH '$' ERROR ON ERROR)) AS numbers"
    ),
}


class RemovedOrderQuerySet(models.QuerySet["RemovedOrder"]):
    """Removals by what is true of them, and what can be done with them."""

    def record(self, shop: str, numbers: Sequence[str], *, requested_via: str) -> list[int]:
        """Insert a row for each order number and return their primary keys, in any order.

        By hand, because ``bulk_create`` prepares each column of each row and sends all of them:
        with ten thousand orders that takes longer than their deletion.
        """
        connection = connections[self.db]
        now = timezone.now()
        moment = get_field("created_at").get_db_prep_save(now, connection)
        sql = _insert_statement(connection)
        keys: list[int] = []
        with connection.cursor() as cursor:
            for start in range(0, len(numbers), _BATCH):
                batch = numbers[start : start + _BATCH]
                # Not escaped as ASCII: PostgreSQL decodes such escapes only in some encodings.
                array = json.dumps(batch, ensure_ascii=False)
                cursor.execute(sql, [shop, str(requested_via), moment, moment, array])
                if connection.features.can_return_rows_from_bulk_insert:
                    keys += [key for (key,) in cursor.fetchall()]
                else:  # MySQL
                    newest = self.filter(shop=shop, created_at=now).order_by("-pk")
                    keys += newest.values_list("pk", flat=True)[: len(batch)]
        return keys

    def due(self) -> Self:
        """To be sent now: its time has come, and its shop is not paused."""
        paused = ShopState.objects.paused().values("shop")  # a subquery, in the same database
        return self.filter(next_attempt_at__lte=timezone.now()).exclude(shop__in=paused)

    def overdue(self, after: timedelta = OVERDUE_AFTER) -> Self:
        """Pending, although it was asked for longer than ``after`` ago.

        It need not be due now: a removal that is tried again and again is never due for long.
        """
        return self.pending().filter(created_at__lt=timezone.now() - after)

    def to_do(self) -> Self:
        """What a person has to look at."""
        return self.failed() | self.overdue() | self.unsettled()

    def unsettled(self) -> Self:
        """Removed, but a person has to do something about it and has not ticked it off.

        That is to refund money, to call off a collection agency, or to look at an order that is
        alive again.
        """
        # Not ``is_unsettled=True``, for which SQLite takes no index where an OR follows.
        return self.filter(is_unsettled__in=[True])

    def to_refund(self) -> Self:
        """Removed although money had arrived, and nobody has settled that."""
        return self.unsettled().filter(HAS_MONEY, settled_at=None)

    def at_agency(self) -> Self:
        """Removed while a collection agency was at work, and nobody has settled that."""
        return self.unsettled().filter(AT_AGENCY, settled_at=None)

    def alive_again(self) -> Self:
        """Alive in the shop although it was removed, and nobody has settled that."""
        return self.unsettled().filter(alive_again_at__isnull=False)

    def pending(self) -> Self:
        """Still to be sent, or to be sent again."""
        return self.filter(state=RemovedOrder.State.PENDING)

    def removed(self) -> Self:
        """Removed, as Komfortkasse confirmed."""
        return self.filter(state=RemovedOrder.State.REMOVED)

    def unknown(self) -> Self:
        """Komfortkasse has no such order."""
        return self.filter(state=RemovedOrder.State.UNKNOWN)

    def superseded(self) -> Self:
        """Not sent, because an order with this number exists again."""
        return self.filter(state=RemovedOrder.State.SUPERSEDED)

    def failed(self) -> Self:
        """Refused by Komfortkasse: needs a person."""
        return self.filter(state=RemovedOrder.State.FAILED)

    def finished(self) -> Self:
        """Nothing is left to do, neither for the app nor for a person.

        An unknown order may still have to be asked for again.
        """
        return self.filter(
            models.Q(is_unsettled=None) | models.Q(is_unsettled=False),
            state__in=RemovedOrder.FINISHED,
            next_attempt_at=None,
        )

    def unknown_in_a_row(self, shop: str) -> Self:
        """The last finished removals of a shop, the newest first, while they are all unknown."""
        ended = self.filter(shop=shop, finished_at__isnull=False).order_by("-finished_at")
        unknown = ended.unknown()
        for state in {*RemovedOrder.FINISHED} - {RemovedOrder.State.UNKNOWN}:
            # State by state: then an index has the newest at its end.
            newest = ended.filter(state=state).values_list("finished_at", flat=True)[:1]
            unknown = unknown.filter(finished_at__gt=newest[0]) if newest else unknown
        return unknown

    def unfinished(self) -> Self:
        """Still to be sent, to be sent again, refused, or to be settled."""
        return self.filter(
            models.Q(state__in=(RemovedOrder.State.PENDING, RemovedOrder.State.FAILED))
            | models.Q(state=RemovedOrder.State.UNKNOWN, next_attempt_at__isnull=False)
            | models.Q(is_unsettled=True)
        )

    def settle(self) -> int:
        """Tick off what a person had to do about these. Return how many there were."""
        return self.unsettled().update(settled_at=timezone.now())

    def unsettle(self) -> int:
        """Take that back. Return how many there were.

        If an order was removed more than once, its rows are one case: only the last is changed. But
        a later answer without an amount took no refund over.
        """
        rows = self.filter(~_is_taken_over(), settled_at__isnull=False)
        # Two statements: MySQL updates no table that the same statement reads.
        keys = list(rows.values_list("pk", flat=True))
        return RemovedOrder.objects.using(self.db).filter(pk__in=keys).update(settled_at=None)

    def settled(self) -> Self:
        """Ticked off: by a person, or because a later removal took the case over."""
        # Without the second condition PostgreSQL expects nearly all rows, and takes no index.
        return self.filter(is_unsettled__in=[False], is_unsettled__isnull=False)

    def taken_over(self) -> Self:
        """Ticked off because a later removal of the order took the case over."""
        return self.settled().filter(_is_taken_over())

    def retriable(self) -> Self:
        """What can be tried again."""
        return self.filter(state__in=RemovedOrder.RETRIABLE)

    def retry(self) -> int:
        """Make what can be tried again pending and due now. Return how many there were.

        A pause of the shop still holds. If a worker is sending a row at this moment, its answer is
        dropped and the removal is sent twice. For Komfortkasse that is the same as once.
        """
        return self.retriable().update(
            state=RemovedOrder.State.PENDING, next_attempt_at=timezone.now(), finished_at=None
        )


def _insert_statement(connection: "BaseDatabaseWrapper") -> str:
    quote = connection.ops.quote_name
    names = ("order_number", "shop", "requested_via", "created_at", "next_attempt_at")
    sql = (
        f"INSERT INTO {quote(RemovedOrder._meta.db_table)} ({', '.join(map(quote, names))})"  # noqa: S608
        f" SELECT value, %s, %s, %s, %s FROM {_ROWS[connection.vendor]}"
    )
    if connection.features.can_return_rows_from_bulk_insert:
        sql += f" RETURNING {quote('id')}"
    return sql


def _is_taken_over() -> models.Q:
    """Whether a later removal of the same order has taken the case over."""
    finished_at, key = models.OuterRef("finished_at"), models.OuterRef("pk")
    later = models.Q(finished_at__gt=finished_at) | models.Q(finished_at=finished_at, pk__gt=key)
    # As a CASE, or SQLite would take the index on the state, and look at all removals since then.
    is_removed = models.Case(
        models.When(state=RemovedOrder.State.REMOVED, then=models.Value(1)), default=0
    )
    same = RemovedOrder.objects.filter(
        later, shop=models.OuterRef("shop"), order_number=models.OuterRef("order_number")
    )
    same = same.alias(is_removed=is_removed).filter(is_removed=1)
    # A later answer without an amount took no refund over.
    has_amount = models.Q(models.Exists(same.filter(amount_paid__isnull=False)))
    return has_amount | (models.Q(models.Exists(same)) & ~HAS_MONEY)


class SparseIndex(models.Index):
    """An index without the rows where its first column is NULL.

    MariaDB and MySQL have no partial indexes: there it has all rows, as any index with a
    ``condition``, but Django does not warn of that at every ``migrate``.
    """

    def create_sql(
        self,
        model: type[models.Model],
        schema_editor: "BaseDatabaseSchemaEditor",
        using: str = "",
        **kwargs: Any,  # noqa: ANN401
    ) -> "Statement":
        """Return the statement that makes it."""
        index = models.Index(
            fields=self.fields,
            name=self.name,
            condition=models.Q((f"{self.fields[0]}__isnull", False)),
        )
        return index.create_sql(model, schema_editor, using, **kwargs)


def _text(label: "_StrPromise", max_length: int) -> "models.CharField[str, str]":
    """A text that may be empty. The database fills it in, see ``RemovedOrder``."""
    return models.CharField(label, max_length=max_length, blank=True, default="", db_default="")


def _moment(
    label: "_StrPromise",
    help_text: "_StrOrPromise" = "",
    **options: Any,  # noqa: ANN401
) -> "models.DateTimeField[datetime | None, datetime | None]":
    return models.DateTimeField(label, null=True, blank=True, help_text=help_text, **options)


def _amount(label: "_StrPromise") -> "models.DecimalField[Decimal | None, Decimal | None]":
    return models.DecimalField(label, max_digits=15, decimal_places=2, null=True, blank=True)


class RemovedOrder(models.Model):
    """One removal that was asked for.

    The shop only inserts rows and workers only update them, so they never wait for each other's
    locks. There is no foreign key to the order, because the row outlives it. Numbers need not be
    unique: a number that is deleted twice is removed twice, which does no harm at Komfortkasse.
    """

    class State(models.TextChoices):
        PENDING = "pending", pgettext_lazy("komfortkasse", "pending")
        REMOVED = "removed", pgettext_lazy("komfortkasse", "removed")
        UNKNOWN = "unknown", _("unknown to Komfortkasse")
        SUPERSEDED = "superseded", pgettext_lazy("komfortkasse", "superseded")
        FAILED = "failed", pgettext_lazy("komfortkasse", "failed")

    FINISHED = (State.REMOVED, State.UNKNOWN, State.SUPERSEDED)
    RETRIABLE = (State.PENDING, State.FAILED, State.UNKNOWN)

    class RequestedVia(models.TextChoices):
        DELETE = "delete", pgettext_lazy("komfortkasse", "deletion of the order")
        CODE = "code", pgettext_lazy("komfortkasse", "the shop's code")
        ADMIN = "admin", pgettext_lazy("komfortkasse", "admin")
        COMMAND = "command", pgettext_lazy("komfortkasse", "command line")
        GONE = "gone", pgettext_lazy("komfortkasse", "end of the order")
        RECONCILE = "reconcile", pgettext_lazy("komfortkasse", "reconciliation")

    SUPERSEDABLE = (RequestedVia.DELETE, RequestedVia.GONE, RequestedVia.RECONCILE)
    """These are not sent if an order with this number is alive. The others were a decision."""

    # The database fills in what a new row does not set: each column that is sent costs time.
    shop = models.CharField(
        pgettext_lazy("komfortkasse", "shop"),
        max_length=255,
        help_text=_("Alias in the setting KOMFORTKASSE."),
    )
    order_number = models.CharField(
        pgettext_lazy("komfortkasse", "order number"), max_length=MAX_NUMBER_LENGTH
    )
    state = models.CharField(
        pgettext_lazy("komfortkasse", "state"),
        max_length=32,
        choices=State.choices,
        default=State.PENDING,
        db_default=State.PENDING,
    )
    requested_via = models.CharField(
        pgettext_lazy("komfortkasse", "requested via"), max_length=32, choices=RequestedVia.choices
    )
    # No choices: a status that the contract does not list is stored and shown unchanged.
    payment_status = _text(pgettext_lazy("komfortkasse", "payment status"), 64)
    reference_number = _text(pgettext_lazy("komfortkasse", "reference number"), 255)
    amount = _amount(pgettext_lazy("komfortkasse", "amount"))
    amount_paid = _amount(pgettext_lazy("komfortkasse", "amount paid"))
    currency = _text(pgettext_lazy("komfortkasse", "currency"), 16)
    collection_partner = _text(pgettext_lazy("komfortkasse", "collection agency"), 255)
    collection_file = _text(pgettext_lazy("komfortkasse", "file number at the agency"), 255)
    collection_status = _text(pgettext_lazy("komfortkasse", "status at the agency"), 255)
    dunning_level = models.PositiveIntegerField(
        pgettext_lazy("komfortkasse", "reminders sent"), null=True, blank=True
    )
    attempts = models.PositiveIntegerField(
        pgettext_lazy("komfortkasse", "attempts"), default=0, db_default=0
    )
    error_code = _text(pgettext_lazy("komfortkasse", "error code"), 64)
    last_error = models.TextField(
        pgettext_lazy("komfortkasse", "last error"), blank=True, default="", db_default=""
    )
    # The queue. One index serves new rows, retries and expired leases on every database.
    next_attempt_at = _moment(
        pgettext_lazy("komfortkasse", "next attempt at"),
        _("When to act next; empty when nothing is left to do."),
        default=timezone.now,
    )
    created_at = models.DateTimeField(
        pgettext_lazy("komfortkasse", "requested at"), default=timezone.now
    )
    finished_at = _moment(pgettext_lazy("komfortkasse", "finished at"))
    alive_again_at = _moment(
        pgettext_lazy("komfortkasse", "alive again at"),
        _("Since when the shop is known to have a living order with this number."),
    )
    settled_at = _moment(
        pgettext_lazy("komfortkasse", "settled at"),
        _("When a person ticked off what was left to do."),
    )
    # The database computes it, so that one small index finds the few rows that are to be settled,
    # and those that are settled (False). All others have NULL, which the index leaves out.
    is_unsettled = models.GeneratedField(
        expression=_IS_UNSETTLED,
        output_field=models.BooleanField(null=True),
        db_persist=True,
        verbose_name=pgettext_lazy("komfortkasse", "to be settled"),
    )

    # Typed as its queryset: pyright and the editors that use it have no plugin for Django.
    objects: ClassVar[RemovedOrderQuerySet] = cast("Any", RemovedOrderQuerySet.as_manager())

    class Meta:
        verbose_name = pgettext_lazy("komfortkasse", "removed order")
        verbose_name_plural = pgettext_lazy("komfortkasse", "removed orders")
        permissions = (("remove_order", _("Can remove orders from Komfortkasse")),)
        # Not db_index: on PostgreSQL Django adds a second index for LIKE to each text field.
        # And few: each of them costs time for each of the orders that are deleted together.
        indexes = (
            models.Index(fields=["order_number"]),
            SparseIndex(fields=["next_attempt_at"]),
            SparseIndex(fields=["is_unsettled"]),
            # All that is counted, the rows of a state, and when one was last confirmed.
            models.Index(fields=["state", "shop", "finished_at"]),
        )

    def __str__(self) -> str:
        return self.order_number

    @property
    def is_overdue(self) -> bool:
        """Whether it is pending for too long, as for ``RemovedOrder.objects.overdue()``."""
        return self.state == self.State.PENDING and self.created_at < timezone.now() - OVERDUE_AFTER

    @property
    def has_money(self) -> bool:
        """Whether money had arrived that Komfortkasse did not show as refunded."""
        return (self.amount_paid or 0) > 0 and self.payment_status != REFUNDED

    @property
    def is_at_agency(self) -> bool:
        """Whether a collection agency was at work, as Komfortkasse said."""
        is_named = self.collection_partner or self.collection_file or self.collection_status
        return bool(is_named) or self.payment_status == IN_COLLECTION

    @property
    def needs_refund(self) -> bool:
        """Whether money is still to be refunded, as for ``RemovedOrder.objects.to_refund()``."""
        return self.has_money and self.settled_at is None

    @property
    def needs_calling_off(self) -> bool:
        """Whether an agency is to be called off, as for ``RemovedOrder.objects.at_agency()``."""
        return self.is_at_agency and self.settled_at is None

    @property
    def is_alive_again(self) -> bool:
        """Whether the order is alive, as for ``RemovedOrder.objects.alive_again()``."""
        since, settled = self.alive_again_at, self.settled_at
        return since is not None and (settled is None or settled < since)

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do, as for ``RemovedOrder.objects.finished()``."""
        return self.state in self.FINISHED and not (self.next_attempt_at or self.is_unsettled)


class ShopStateQuerySet(models.QuerySet["ShopState"]):
    """States of shops by what is true of them."""

    def paused(self) -> Self:
        """Shops that are not called for now."""
        return self.filter(paused_until__gt=timezone.now())


class ShopState(models.Model):
    """Recent failures of the calls for a shop, and until when the shop is paused.

    It is in the database because all processes keep to it. Only workers write it: after a failure,
    and after a success that ends failures. A shop without a row has no failures.
    """

    shop = models.CharField(pgettext_lazy("komfortkasse", "shop"), max_length=255, primary_key=True)
    paused_until = models.DateTimeField(
        pgettext_lazy("komfortkasse", "paused until"), null=True, blank=True
    )
    failures = models.PositiveIntegerField(
        pgettext_lazy("komfortkasse", "failures in a row"), default=0
    )
    failing_since = models.DateTimeField(
        pgettext_lazy("komfortkasse", "failing since"), null=True, blank=True
    )
    error_code = models.CharField(
        pgettext_lazy("komfortkasse", "error code"), max_length=64, blank=True, default=""
    )
    last_error = models.TextField(
        pgettext_lazy("komfortkasse", "last error"), blank=True, default=""
    )

    objects: ClassVar[ShopStateQuerySet] = cast("Any", ShopStateQuerySet.as_manager())

    class Meta:
        verbose_name = pgettext_lazy("komfortkasse", "state of a shop")
        verbose_name_plural = pgettext_lazy("komfortkasse", "states of shops")

    def __str__(self) -> str:
        return self.shop

    def is_paused(self) -> bool:
        """Whether the shop is not called for now."""
        return self.paused_until is not None and self.paused_until > timezone.now()


def get_field(name: str) -> "models.Field[Any, Any]":
    """Return the field ``name`` of ``RemovedOrder``. Its column has the same name."""
    return cast("models.Field[Any, Any]", RemovedOrder._meta.get_field(name))
