from tests.support.manual import recipe

recipe("django-tenants").run(globals(), "tenants/komfortkasse.py")
