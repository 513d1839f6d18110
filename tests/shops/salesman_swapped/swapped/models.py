from django.db import models
from salesman.orders.models import BaseOrder


class Company(models.Model):
    """A customer whose orders go with it."""

    name = models.CharField(max_length=100)


class Order(BaseOrder):
    company = models.ForeignKey(Company, models.CASCADE, null=True, related_name="orders")
