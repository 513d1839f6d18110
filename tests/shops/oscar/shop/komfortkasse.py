from tests.support.readme import recipe

recipe("django-oscar").run(globals(), "shop/komfortkasse.py")
