from tests.support.readme import recipe

recipe("django-tenants").run(globals(), "tenants/komfortkasse.py")
