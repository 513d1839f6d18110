from tests.support.readme import recipe

recipe("django-ledger").run(globals(), "shop/komfortkasse.py")
