from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from django.http import HttpResponse
from django.test import Client, TestCase, override_settings

from sandbox.models import Outage, SandboxOrder

ATTRIBUTES = {
    "amount": 22.38,
    "paymentStatus": "UNPAID",
    "postings": [{"id": "1", "amount": 22.38}],
    "hasBankDetailsForRefund": True,
    "collectionHistory": [{"description": "Handed over"}],
    "paymentReminders": [{"dunningLevel": 1}],
    "refunds": [],
}


@override_settings(SANDBOX_API_KEY="right key")
class RemoveOrderTests(TestCase):
    client: Client

    def setUp(self) -> None:
        self.order = SandboxOrder.objects.create(number="2026/1001", attributes=ATTRIBUTES)

    def remove(
        self, number: str = "2026/1001", query: str = "", api_key: str | None = "right key"
    ) -> Any:  # noqa: ANN401
        headers = {} if api_key is None else {"X-Komfortkasse-API-Key": api_key}
        path = f"/sandbox/api/v2/order/remove/{quote(number, safe='')}{query}"
        return self.client.post(path, headers=headers)

    def assert_error(self, response: HttpResponse, status: int, message: str) -> None:
        assert response.status_code == status
        assert response.json() == {"error": message}  # type: ignore[attr-defined]
        self.order.refresh_from_db()
        assert self.order.removed_at is None

    def test_removes(self) -> None:
        response = self.remove()

        assert response.status_code == HTTPStatus.OK
        assert response.json() == {
            "number": "2026/1001",
            "amount": 22.38,
            "paymentStatus": "DISAPPEARED",
        }
        self.order.refresh_from_db()
        assert self.order.removed_at is not None

    def test_takes_an_order_without_attributes(self) -> None:
        SandboxOrder(number="1").full_clean()

    def test_removes_twice_like_once(self) -> None:
        first = self.remove()
        self.order.refresh_from_db()
        removed_at = self.order.removed_at
        second = self.remove()

        assert second.status_code == HTTPStatus.OK
        assert second.json() == first.json()
        self.order.refresh_from_db()
        assert self.order.removed_at == removed_at

    def test_needs_no_csrf_token(self) -> None:
        self.client = Client(enforce_csrf_checks=True)

        assert self.remove().status_code == HTTPStatus.OK

    def test_missing_key(self) -> None:
        self.assert_error(self.remove(api_key=None), 401, "API Key missing")

    def test_wrong_key(self) -> None:
        self.assert_error(self.remove(api_key="wrong key"), 401, "API Key invalid")

    def test_unknown_order(self) -> None:
        self.assert_error(self.remove("1001"), 404, "Order not found")

    def test_order_that_is_in_trouble(self) -> None:
        for trouble, status, message in (
            (SandboxOrder.Trouble.REFUSED, 400, "Order is locked"),
            (SandboxOrder.Trouble.BROKEN, 500, "Unexpected error"),
        ):
            with self.subTest(trouble):
                SandboxOrder.objects.update(trouble=trouble)

                self.assert_error(self.remove(), status, message)

    def test_includes_what_is_asked_for(self) -> None:
        for parameter, names in {
            "includePostings": {"postings", "hasBankDetailsForRefund"},
            "includeCollectionHistory": {"collectionHistory"},
            "includePaymentReminders": {"paymentReminders"},
            "includeRefunds": {"refunds"},
        }.items():
            with self.subTest(parameter):
                answer = self.remove(query=f"?{parameter}=true").json()

                assert answer.keys() == {"number", "amount", "paymentStatus"} | names

    def test_includes_nothing_that_is_declined(self) -> None:
        answer = self.remove(query="?includePostings=false").json()

        assert answer.keys() == {"number", "amount", "paymentStatus"}

    def test_no_boolean(self) -> None:
        self.assert_error(
            self.remove(query="?includeRefunds=maybe"), 400, "includeRefunds must be true or false"
        )

    def test_other_methods(self) -> None:
        path = "/sandbox/api/v2/order/remove/1001"
        for method in (self.client.get, self.client.put, self.client.delete):
            assert method(path).status_code == HTTPStatus.METHOD_NOT_ALLOWED

    def test_outage_of_the_next_calls(self) -> None:
        Outage.objects.create(calls_left=2)

        for _ in range(2):
            self.assert_error(self.remove(), 503, "Service unavailable")
        assert self.remove().status_code == HTTPStatus.OK

    def test_outage_until_it_is_deleted(self) -> None:
        outage = Outage.objects.create()

        for _ in range(3):
            self.assert_error(self.remove(), 503, "Service unavailable")
        outage.delete()
        assert self.remove().status_code == HTTPStatus.OK
