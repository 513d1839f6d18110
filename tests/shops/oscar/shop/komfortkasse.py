from tests.support.manual import recipe

recipe("django-oscar").run(globals(), "shop/komfortkasse.py")
