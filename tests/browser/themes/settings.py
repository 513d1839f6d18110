"""The example project with the theme of the admin that the variable ``THEME`` names."""

import os

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS
from tests.support.manual import recipe

APPS = {
    "admin_interface": ["admin_interface", "colorfield"],
    "grappelli": ["grappelli"],
    "jazzmin": ["jazzmin"],
    "unfold": ["unfold", "tests.browser.themes.unfold_shop"],
}

THEME = os.environ["THEME"]
INSTALLED_APPS = [*APPS[THEME], *INSTALLED_APPS]
ROOT_URLCONF = "tests.browser.themes.urls"
SECRET_KEY = "tests"

if THEME == "jazzmin":
    recipe("Themes of the admin", 1).run(globals(), "settings.py")
    JAZZMIN_SETTINGS["use_google_fonts_cdn"] = False  # noqa: F405
