from oscar.core.loading import get_model


def delete_and_fail(request, pk):
    get_model("order", "Order").objects.get(pk=pk).delete()
    raise RuntimeError("after the deletion")
