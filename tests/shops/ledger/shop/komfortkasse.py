from tests.support.manual import recipe

recipe("django-ledger").run(globals(), "shop/komfortkasse.py")
