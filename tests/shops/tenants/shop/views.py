from django.http import HttpResponse

from shop.models import Order


def delete(request, number):
    Order.objects.get(number=number).delete()
    return HttpResponse()
