"""A small shop: customers order, some of them in a campaign, and pay in one of four ways."""

from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Customer(models.Model):
    name = models.CharField(_("name"), max_length=100)
    email = models.EmailField(_("email"))

    class Meta:
        verbose_name = _("customer")
        verbose_name_plural = _("customers")

    def __str__(self) -> str:
        return self.name


class Campaign(models.Model):
    """Pre-orders of one product. When the campaign is deleted, its orders are deleted as well."""

    name = models.CharField(_("name"), max_length=100)

    class Meta:
        verbose_name = _("campaign")
        verbose_name_plural = _("campaigns")

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    class PaymentMethod(models.TextChoices):
        PREPAYMENT = "prepayment", _("prepayment")
        INVOICE = "invoice", _("invoice")
        CARD = "card", _("credit card")
        PAYPAL = "paypal", _("PayPal")

    number = models.CharField(_("number"), max_length=50, unique=True)
    customer = models.ForeignKey(Customer, models.CASCADE, verbose_name=_("customer"))
    campaign = models.ForeignKey(
        Campaign, models.CASCADE, null=True, blank=True, verbose_name=_("campaign")
    )
    payment_method = models.CharField(
        _("payment method"), max_length=20, choices=PaymentMethod.choices
    )
    total = models.DecimalField(_("total"), max_digits=10, decimal_places=2)
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    cancelled_at = models.DateTimeField(_("cancelled at"), null=True, blank=True)

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")

    def __str__(self) -> str:
        return self.number

    def cancel(self) -> None:
        """Cancel the order, which stays in the shop. ``ORDER_GONE`` tells what that means."""
        self.cancelled_at = timezone.now()
        self.save(update_fields=["cancelled_at"])


class OrderLine(models.Model):
    order = models.ForeignKey(Order, models.CASCADE, related_name="lines", verbose_name=_("order"))
    product = models.CharField(_("product"), max_length=100)
    quantity = models.PositiveIntegerField(_("quantity"), default=1)
    price = models.DecimalField(_("price"), max_digits=10, decimal_places=2)

    class Meta:
        verbose_name = _("order line")
        verbose_name_plural = _("order lines")

    def __str__(self) -> str:
        return f"{self.quantity} x {self.product}"


class ArchivedOrderManager(models.Manager["ArchivedOrder"]):
    def get_queryset(self) -> models.QuerySet["ArchivedOrder"]:
        return super().get_queryset().filter(cancelled_at__isnull=False)


class ArchivedOrder(Order):
    """Cancelled orders, which the shop deletes some day."""

    objects: ClassVar = ArchivedOrderManager()

    class Meta:
        proxy = True
        verbose_name = _("archived order")
        verbose_name_plural = _("archived orders")
