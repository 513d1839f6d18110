from django.db import models


class Order(models.Model):
    number = models.CharField(max_length=50, unique=True)
    status = models.CharField(max_length=20, default="new")
