"""The pages of the mirror's admin, as tests read them."""

import re
from datetime import datetime, timedelta

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from komfortkasse_django.models import RemovedOrder

LIST = "admin:komfortkasse_django_removedorder_changelist"


def url(view: str, row: RemovedOrder) -> str:
    return reverse(f"admin:komfortkasse_django_removedorder_{view}", args=[row.pk])


def text(response) -> str:
    return re.sub(r"[ \n]+", " ", response.content.decode())


def listed(client: Client, **query: str) -> list[str]:
    response = client.get(reverse(LIST), query)
    assert response.status_code == 200
    return [row.order_number for row in response.context["cl"].result_list]


def cells(client: Client, **query: str) -> dict[str, str]:
    """Return the first row of the list, by the names of its columns, without tags."""
    return cells_of(client.get(reverse(LIST), query))


def cells_of(response) -> dict[str, str]:
    """Return the first row of a list, as ``cells`` does."""
    page = text(response).partition("<tbody>")[2].partition("</tr>")[0]
    found = re.findall(r'<t[dh] class="field-(\w+)[^>]*>(.*?)</t[dh]>', page)
    return {
        name: " ".join(re.sub(r"<[^>]*>", "", cell.replace("<br>", " ")).split(" ")).strip()
        for name, cell in found
    }


def ahead(**delta: float) -> datetime:
    return timezone.now() + timedelta(**delta)
