from django.db import models


class Company(models.Model):
    """A customer whose orders go with it."""

    name = models.CharField(max_length=100)
