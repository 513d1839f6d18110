from django.db import models


class Order(models.Model):
    number = models.CharField(max_length=32, unique=True)
    payment_method = models.CharField(max_length=32)
