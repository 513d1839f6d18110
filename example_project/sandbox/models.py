"""The orders and outages of the sandbox, which plays Komfortkasse."""

from collections.abc import Collection

from django.db import models
from django.db.models import F
from django.utils.translation import gettext_lazy as _

INCLUDES = {
    "includePostings": ("postings", "hasBankDetailsForRefund"),
    "includeCollectionHistory": ("collectionHistory",),
    "includePaymentReminders": ("paymentReminders",),
    "includeRefunds": ("refunds",),
}
"""Query parameters of the API, and the attributes that are only in its answer on request."""


class SandboxOrder(models.Model):
    """An order as Komfortkasse knows it."""

    class Trouble(models.TextChoices):
        REFUSED = "refused", _("Komfortkasse refuses to remove it (HTTP 400)")
        BROKEN = "broken", _("Komfortkasse breaks down when it removes it (HTTP 500)")

    number = models.CharField(_("order number"), max_length=255, unique=True)
    attributes = models.JSONField(
        _("attributes"),
        default=dict,
        blank=True,
        help_text=_("As in the API's answers, for example amount, amountPaid and currency."),
    )
    trouble = models.CharField(_("trouble"), max_length=20, choices=Trouble.choices, blank=True)
    removed_at = models.DateTimeField(_("removed at"), null=True, blank=True)

    class Meta:
        verbose_name = _("order at Komfortkasse")
        verbose_name_plural = _("orders at Komfortkasse")

    def __str__(self) -> str:
        return self.number

    def as_json(self, included: Collection[str] = ()) -> dict[str, object]:
        """The API's answer about the order; ``included`` are the parameters that are true."""
        on_request = {
            name
            for parameter, names in INCLUDES.items()
            if parameter not in included
            for name in names
        }
        answer = {name: value for name, value in self.attributes.items() if name not in on_request}
        if self.removed_at:
            answer["paymentStatus"] = "DISAPPEARED"
        return {**answer, "number": self.number}


class OutageQuerySet(models.QuerySet["Outage"]):
    def consume(self) -> bool:
        """Whether there is an outage at the moment."""
        if self.filter(calls_left=None).exists():
            return True
        return bool(self.filter(calls_left__gt=0).update(calls_left=F("calls_left") - 1))


class Outage(models.Model):
    """As long as there is one, every call is answered with 503."""

    calls_left = models.PositiveIntegerField(
        _("calls left"),
        null=True,
        blank=True,
        help_text=_("How many calls fail; empty for all until this is deleted."),
    )

    objects = OutageQuerySet.as_manager()

    class Meta:
        verbose_name = _("outage")
        verbose_name_plural = _("outages")

    def __str__(self) -> str:
        if self.calls_left is None:
            return str(_("all calls"))
        return str(self.calls_left)
