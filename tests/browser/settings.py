"""The example project behind a strict Content-Security-Policy, in one more language."""

from config.settings import *  # noqa: F403
from config.settings import LANGUAGES, MIDDLEWARE

LANGUAGES = [*LANGUAGES, ("ar", "Arabic")]  # written from right to left
MIDDLEWARE = [*MIDDLEWARE, "tests.browser.policy.add_policy"]
SECRET_KEY = "tests"
