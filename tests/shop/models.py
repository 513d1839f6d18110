"""Orders as shops have them: first the plain one, then one for each special case."""

import codecs
import uuid

from django.core.exceptions import FieldError
from django.db import models
from django.db.models.functions import Lower


class Customer(models.Model):
    name = models.CharField(max_length=100)


class Event(models.Model):
    """A parent whose deletion cascades to orders."""

    name = models.CharField(max_length=100)


class VisibleManager(models.Manager):
    def get_queryset(self) -> models.QuerySet[models.Model]:
        return super().get_queryset().filter(hidden=False)


class Order(models.Model):
    number = models.CharField(max_length=300, blank=True, null=True)
    payment = models.CharField(max_length=20, default="prepayment")
    event = models.ForeignKey(Event, models.CASCADE, null=True, blank=True)
    replaces = models.ForeignKey("self", models.CASCADE, null=True, blank=True)
    hidden = models.BooleanField(default=False)
    cancelled = models.BooleanField(default=False)

    objects = VisibleManager()

    class Meta:
        base_manager_name = "objects"

    def __str__(self) -> str:
        return str(self.number)

    @property
    def full_number(self) -> str:
        return f"EVENT-{self.number}"


class Line(models.Model):
    order = models.ForeignKey(Order, models.CASCADE, related_name="lines")
    name = models.CharField(max_length=100)


class ArchivedOrder(Order):
    class Meta:
        proxy = True


class GiftOrder(Order):
    """A multi-table child."""

    greeting = models.CharField(max_length=100)


class ArchivedGiftOrder(GiftOrder):
    class Meta:
        proxy = True


class Ticket(models.Model):
    ticket_key = models.AutoField(primary_key=True)


class TicketOrder(Ticket, Order):
    """A multi-table child whose primary key is not the order's."""


class IntegerOrder(models.Model):
    number = models.IntegerField(null=True)


class UUIDOrder(models.Model):
    number = models.UUIDField(default=uuid.uuid4)


class EagerOrder(models.Model):
    """Reads its fields in ``__init__``, like django-salesman's Order."""

    ref = models.CharField(max_length=50)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.ref_at_first = self.ref


class EncryptedField(models.TextField):
    """Refuses every lookup, like the fields of django-fernet-fields."""

    def get_prep_value(self, value):
        return value and codecs.encode(value, "rot13")

    def from_db_value(self, value, *args):
        return value and codecs.decode(value, "rot13")

    def get_lookup(self, lookup_name):
        raise FieldError(f"{self} does not support look-ups")


class LateEncryptedField(EncryptedField):
    """Refuses when the SQL is compiled."""

    def get_lookup(self, lookup_name):
        class Refusing(models.lookups.In):
            def as_sql(self, compiler, connection):
                raise TypeError("does not support look-ups")

        return Refusing


class UnreadableField(EncryptedField):
    """Does not even accept the text of its number."""

    def to_python(self, value):
        raise ArithmeticError("not a ciphertext")


class OddlyNumberedOrder(models.Model):
    """Has no number that can be looked up."""

    encrypted = EncryptedField()
    late = LateEncryptedField()
    unreadable = UnreadableField()
    binary = models.BinaryField()


class CompositeOrder(models.Model):
    pk = models.CompositePrimaryKey("year", "serial")
    year = models.IntegerField()
    serial = models.IntegerField()


class NumberedByTheDatabaseOrder(models.Model):
    number = models.CharField(max_length=50, db_default=Lower(models.Value("WEB-1")))
    prefix = models.CharField(max_length=50, default="A")

    @property
    def full_number(self) -> str:
        return f"{self.prefix}-{self.number}"


class KeyedByTheDatabaseOrder(models.Model):
    key = models.CharField(max_length=50, primary_key=True, db_default=Lower(models.Value("WEB-1")))
    number = models.CharField(max_length=50)


class SwappedOrder(models.Model):
    number = models.CharField(max_length=50)

    class Meta:
        swappable = "SHOP_SWAPPED_ORDER_MODEL"


class SwappedInOrder(models.Model):
    number = models.CharField(max_length=50)
