from tests.support.manual import recipe

recipe("django-tenants").run(globals(), "tenants/management/commands/each_tenant.py")
