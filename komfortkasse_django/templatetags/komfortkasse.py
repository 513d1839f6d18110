"""For this app's page in the admin."""

from django import template

from komfortkasse_django.models import RemovedOrder

register = template.Library()


@register.simple_tag
def komfortkasse_to_do() -> int:
    """How many removals a person has to look at."""
    return RemovedOrder.objects.to_do().count()
