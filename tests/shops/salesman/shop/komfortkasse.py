from tests.support.readme import recipe

recipe("django-salesman").run(globals(), "shop/komfortkasse.py")
