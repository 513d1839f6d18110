"""Orders deleted by views, as shops do."""

import time

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync
from django.core.signals import request_finished, request_started
from django.db import connection
from django.http import HttpResponse
from django.test import AsyncClient, AsyncRequestFactory
from django.urls import path

from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue import pushing
from tests.shop.models import Order
from tests.support.komfortkasse import error

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


async def delete_each_async(request):
    for order in [order async for order in Order.objects.all()]:
        await order.adelete()
    return HttpResponse()


urlpatterns = [
    path("delete/", delete),
    path("delete-async/", delete_async),
    path("delete-each-async/", delete_each_async),
]


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


def test_async_views(komfortkasse):
    Order.objects.create(number="1001")

    response = async_to_sync(AsyncClient().get)("/delete-async/", {"number": "1001"})

    assert response.status_code == 200
    assert komfortkasse.numbers == ["1001"]
    assert RemovedOrder.objects.get().state == "removed"


def test_async_requests_have_one_budget(monkeypatch, configure):
    """Before Django 6.1, what a receiver of request_started sets is lost to them."""
    configure(REQUEST_BUDGET=2.5)
    budgets = []

    def push(*, using, shop, ids, budget):
        budgets.append(budget)
        time.sleep(0.1)

    monkeypatch.setattr(pushing, "push", push)
    for number in ("1001", "1002", "1003"):
        Order.objects.create(number=number)

    for _ in range(2):
        request = AsyncRequestFactory().get("/delete-each-async/")
        async_to_sync(answer)(request)

    assert len(budgets) == 3
    assert 2.4 < budgets[0] <= 2.5
    assert budgets[1] <= budgets[0] - 0.1
    assert budgets[2] <= budgets[1] - 0.1


async def answer(request):
    """As Django's ASGI handler does: one context for all that a request runs in threads."""
    await request_started.asend(sender=None)
    async with ThreadSensitiveContext():
        await delete_each_async(request)
    await request_finished.asend(sender=None)
