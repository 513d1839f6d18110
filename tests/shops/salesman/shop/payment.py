from tests.support.manual import recipe

recipe("django-salesman", 1).run(globals(), "shop/payment.py")
