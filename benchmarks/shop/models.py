"""An order as simple as possible, and the smallest record of its removal."""

from django.db import models


class Order(models.Model):
    number = models.CharField(max_length=50, unique=True)
    customer = models.CharField(max_length=100)
    total = models.DecimalField(max_digits=10, decimal_places=2)

    def __str__(self) -> str:
        return self.number


class Line(models.Model):
    order = models.ForeignKey(Order, models.CASCADE)
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Bare(models.Model):
    """Six columns, which any record of a removal needs."""

    shop = models.CharField(max_length=255)
    order_number = models.CharField(max_length=255, db_index=True)
    state = models.CharField(max_length=32)
    requested_via = models.CharField(max_length=32)
    next_attempt_at = models.DateTimeField(null=True, db_index=True)

    def __str__(self) -> str:
        return self.order_number
