"""How Sphinx makes a website of the manual: ``script/docs`` runs it."""

import django
from django.conf import settings

import komfortkasse_django

# For autodoc, which imports the models.
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.admin",
        "komfortkasse_django",
    ],
    KOMFORTKASSE={"default": {"ORDER_MODEL": "auth.User", "ENABLED": False}},
)
django.setup()

project = "komfortkasse_django"
author = "komfortkasse_django contributors"
release = komfortkasse_django.__version__
extensions = ["sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"Komfortkasse for Django {release}"
html_show_copyright = False
html_show_sourcelink = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
# Their own manuals are not here.
nitpick_ignore_regex = [("py:.*", r"(?!komfortkasse_django).*")]
