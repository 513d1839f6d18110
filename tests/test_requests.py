"""Orders deleted by views, as shops do."""

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import AsyncClient
from django.urls import path

from komfortkasse_django.models import RemovedOrder
from tests.komfortkasse import error
from tests.shop.models import Order

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]


def delete(request):
    Order.objects.get(number=request.GET["number"]).delete()
    sent_before_the_commit = RemovedOrder.objects.exclude(attempts=0).exists()
    if "fail" in request.GET:
        raise RuntimeError("after the deletion")
    return HttpResponse(str(sent_before_the_commit))


async def delete_async(request):
    order = await Order.objects.aget(number=request.GET["number"])
    await order.adelete()
    return HttpResponse()


urlpatterns = [path("delete/", delete), path("delete-async/", delete_async)]


@pytest.fixture
def _atomic_requests(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)


@pytest.mark.usefixtures("_atomic_requests")
def test_atomic_requests_send_after_the_view(client, komfortkasse):
    Order.objects.create(number="1001")

    response = client.get("/delete/", {"number": "1001"})

    assert response.content == b"False"
    assert komfortkasse.numbers == ["1001"]


@pytest.mark.usefixtures("_atomic_requests")
def test_atomic_requests_that_fail_send_nothing(client, komfortkasse):
    Order.objects.create(number="1001")
    client.raise_request_exception = False

    assert client.get("/delete/", {"number": "1001", "fail": "1"}).status_code == 500

    assert Order.objects.exists()
    assert komfortkasse.numbers == []
    assert not RemovedOrder.objects.exists()


def test_requests_in_autocommit_mode_that_fail_have_deleted(client, komfortkasse):
    Order.objects.create(number="1001")
    client.raise_request_exception = False

    assert client.get("/delete/", {"number": "1001", "fail": "1"}).status_code == 500

    assert not Order.objects.exists()
    assert komfortkasse.numbers == ["1001"]


def test_requests_succeed_while_komfortkasse_does_not(client, komfortkasse):
    komfortkasse.answer = error(500)
    Order.objects.create(number="1001")

    assert client.get("/delete/", {"number": "1001"}).status_code == 200

    assert RemovedOrder.objects.get().state == "pending"


async def _delete_async():
    return await AsyncClient().get("/delete-async/", {"number": "1001"})


def test_async_views(komfortkasse):
    from asgiref.sync import async_to_sync

    Order.objects.create(number="1001")

    assert async_to_sync(_delete_async)().status_code == 200

    assert komfortkasse.numbers == ["1001"]
    assert RemovedOrder.objects.get().state == "removed"
