from decimal import Decimal

from django.db import models


class Product(models.Model):
    name = models.CharField(max_length=100)
    code = models.CharField(max_length=100)

    def get_price(self, request):
        return Decimal("22.38")
