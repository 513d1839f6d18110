"""``POST /order/remove/{orderNumber}``, as the contract of Komfortkasse's API v2 defines it."""

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from sandbox.models import INCLUDES, Outage, SandboxOrder


@csrf_exempt
@require_POST
def remove_order(request: HttpRequest, number: str) -> JsonResponse:
    """Mark an order as removed and answer with it. A second time changes nothing."""
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
    orders = SandboxOrder.objects.filter(number=number)
    orders.filter(removed_at=None).update(removed_at=timezone.now())
    order = orders.first()
    if order is None:
        return _error(404, "Order not found")
    included = [parameter for parameter in INCLUDES if request.GET.get(parameter) == "true"]
    return JsonResponse(order.as_json(included))


def _error(status: int, message: str) -> JsonResponse:
    return JsonResponse({"error": message}, status=status)
