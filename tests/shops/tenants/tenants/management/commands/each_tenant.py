from tests.support.readme import recipe

recipe("django-tenants").run(globals(), "tenants/management/commands/each_tenant.py")
