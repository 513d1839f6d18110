from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Tenant(TenantMixin):
    komfortkasse_api_key = models.CharField(max_length=100, blank=True)

    auto_drop_schema = True


class Domain(DomainMixin):
    pass
