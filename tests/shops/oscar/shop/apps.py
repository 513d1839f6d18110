from tests.support.readme import recipe

recipe("django-oscar").run(globals(), "shop/apps.py")
