from tests.support.manual import recipe

recipe("django-salesman").run(globals(), "shop/komfortkasse.py")
