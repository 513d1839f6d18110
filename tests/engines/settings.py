"""The tests' settings for one task engine: those of the manual, completed by the environment."""

from importlib.util import find_spec

import environ

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS, KOMFORTKASSE
from tests.support.manual import recipe

env = environ.Env()

ENGINE = env("ENGINE")
QUEUE = env("QUEUE")

RECIPES = {
    "db": recipe("In the database: django-tasks-db", 1),
    "rq": recipe("Redis: django-tasks-rq", 1),
    "celery": recipe("RabbitMQ and Celery: django-tasks-fennel", 1),
}

DATABASES = {"default": env.db("DATABASE_URL")}
if env("TASK_DATABASE_URL", default=""):
    DATABASES["tasks"] = env.db("TASK_DATABASE_URL")
    DATABASE_ROUTERS = ["tests.engines.routers.TaskRouter"]

_recipe = RECIPES[ENGINE].with_apps(*INSTALLED_APPS)
if find_spec("django.tasks"):
    _recipe = _recipe.without_backport()
_manual = _recipe.run({})

# The queue and the services are the tests' own.
INSTALLED_APPS = _manual["INSTALLED_APPS"]
TASKS = {alias: backend | {"QUEUES": [QUEUE]} for alias, backend in _manual["TASKS"].items()}
if ENGINE == "rq":
    RQ_QUEUES = {QUEUE: _manual["RQ_QUEUES"]["default"] | {"URL": env("REDIS_URL")}}
if ENGINE == "celery":
    assert "CELERY_BROKER_URL" in _manual
    CELERY_BROKER_URL = env("RABBITMQ_URL")

KOMFORTKASSE["default"] |= {
    "API_URL": env("API_URL"),
    "DEADLINE": 5,
    "REQUEST_BUDGET": 60,  # to enqueue all of 10,000 orders on a busy machine
    "TASK_QUEUE": env("TASK_QUEUE", default=QUEUE),
    "TASK_BACKEND": env("TASK_BACKEND", default="default"),
}
