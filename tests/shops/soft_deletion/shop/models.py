from django.db import models
from django_undeletable.models import BaseModel
from polymorphic.models import PolymorphicModel
from safedelete.models import SafeDeleteModel
from softdelete.models import SoftDeleteObject


class SoftOrder(SoftDeleteObject):
    """Sends Django's signals of a deletion by hand and keeps the row."""

    number = models.CharField(max_length=50)


class UndeletableOrder(BaseModel):
    """The same, and for a queryset without saying in which database."""

    number = models.CharField(max_length=50)


class SafeOrder(SafeDeleteModel):
    """Sends signals of its own only."""

    number = models.CharField(max_length=50)


class Order(PolymorphicModel):
    number = models.CharField(max_length=50)


class GiftOrder(Order):
    greeting = models.CharField(max_length=50)


class Line(models.Model):
    order = models.ForeignKey(Order, models.CASCADE, related_name="lines")
