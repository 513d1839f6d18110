from django.db import models
from oscar.apps.order.abstract_models import AbstractOrder


class Order(AbstractOrder):
    company = models.ForeignKey(
        "company.Company", models.CASCADE, blank=True, null=True, related_name="orders"
    )


from oscar.apps.order.models import *  # noqa: E402, F403
