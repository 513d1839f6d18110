"""The stock Salesman shop of the folder beside this one, with an Order model of its own."""

from settings import *  # noqa: F403
from settings import INSTALLED_APPS, KOMFORTKASSE

INSTALLED_APPS = ["swapped", *INSTALLED_APPS]
SALESMAN_ORDER_MODEL = "swapped.Order"
KOMFORTKASSE = {"default": {**KOMFORTKASSE["default"], "ORDER_MODEL": "swapped.Order"}}
