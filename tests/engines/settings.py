"""The tests' settings for one task engine, which the environment chooses and completes."""

from importlib.util import find_spec

import environ

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS, KOMFORTKASSE

env = environ.Env()

ENGINE = env("ENGINE")
QUEUE = env("QUEUE")

DATABASES = {"default": env.db("DATABASE_URL")}
if env("TASK_DATABASE_URL", default=""):
    DATABASES["tasks"] = env.db("TASK_DATABASE_URL")
    DATABASE_ROUTERS = ["tests.engines.routers.TaskRouter"]

# The backport of the Tasks framework, which Django 6.0 and later do not need.
if not find_spec("django.tasks"):
    INSTALLED_APPS += ["django_tasks"]

INSTALLED_APPS += {
    "db": ["django_tasks_db"],
    "rq": ["django_rq"],
    "celery": ["django_tasks_fennel"],
}[ENGINE]
TASKS = {
    "default": {
        "BACKEND": {
            "db": "django_tasks_db.DatabaseBackend",
            "rq": "django_tasks_rq.RQBackend",
            "celery": "django_tasks_fennel.CeleryBackend",
        }[ENGINE],
        "QUEUES": [QUEUE],
    }
}

RQ_QUEUES = {QUEUE: {"URL": env("REDIS_URL")}}

CELERY_BROKER_URL = env("RABBITMQ_URL")
CELERY_IMPORTS = ["komfortkasse_django.background"]

KOMFORTKASSE["default"] |= {
    "API_URL": env("API_URL"),
    "DEADLINE": 0.5,
    "TASK_QUEUE": env("TASK_QUEUE", default=QUEUE),
    "TASK_BACKEND": env("TASK_BACKEND", default="default"),
}
