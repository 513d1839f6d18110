"""``POST /order/remove/{orderNumber}``, as the contract of Komfortkasse's API v2 defines it."""

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from sandbox.models import INCLUDES, Outage, SandboxOrder

TROUBLES = {
    SandboxOrder.Trouble.REFUSED.value: (400, "Order is locked"),
    SandboxOrder.Trouble.BROKEN.value: (500, "Unexpected error"),
}
"""What the API answers about an order that is in trouble."""


@csrf_exempt
@require_POST
def remove_order(request: HttpRequest, number: str) -> JsonResponse:
    """Mark an order as removed and answer with it. A second time changes nothing."""
    refusal = _refusal(request)
    if refusal:
        return refusal
    order = SandboxOrder.objects.filter(number=number).first()
    if order is None:
        return _error(404, "Order not found")
    if order.trouble:
        return _error(*TROUBLES[order.trouble])
    if order.removed_at is None:
        order.removed_at = timezone.now()
        order.save(update_fields=["removed_at"])
    included = [parameter for parameter in INCLUDES if request.GET.get(parameter) == "true"]
    return JsonResponse(order.as_json(included))


def _refusal(request: HttpRequest) -> JsonResponse | None:
    """Answer a request that is refused for any order."""
    if Outage.objects.consume():
        return _error(503, "Service unavailable")
    api_key = request.headers.get("X-Komfortkasse-API-Key", "")
    if not api_key:
        return _error(401, "API Key missing")
    if not constant_time_compare(api_key, settings.SANDBOX_API_KEY):
        return _error(401, "API Key invalid")
    for parameter in INCLUDES:
        if request.GET.get(parameter, "false") not in {"true", "false"}:
            return _error(400, f"{parameter} must be true or false")
    return None


def _error(status: int, message: str) -> JsonResponse:
    return JsonResponse({"error": message}, status=status)
