"""The stock Oscar shop of the folder beside this one, with an order app of its own."""

from settings import *  # noqa: F403
from settings import INSTALLED_APPS

_place = INSTALLED_APPS.index("oscar.apps.order.apps.OrderConfig")
INSTALLED_APPS = [
    *INSTALLED_APPS[:_place],
    "company",
    "forked.order.apps.OrderConfig",
    *INSTALLED_APPS[_place + 1 :],
]
