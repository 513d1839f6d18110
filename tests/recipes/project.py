"""A shop of one's own, made of what the manual says."""

import os
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.support.loopback import Komfortkasse, Server
from tests.support.manual import Recipe, recipe

ROOT = Path(__file__).parents[2]

_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "shop",
]

_FILES = {
    "manage.py": """
import os, sys
from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
""",
    "urls.py": """
from django.contrib import admin
from django.urls import path

admin.autodiscover()
urlpatterns = [path("admin/", admin.site.urls)]
""",
    "shop/__init__.py": "",
    "shop/models.py": """
from django.db import models

class Order(models.Model):
    number = models.CharField(max_length=50, unique=True)
    status = models.CharField(max_length=20, default="new")
    payment_method = models.CharField(max_length=20, default="prepayment")
    store = models.CharField(max_length=20, default="berlin")
    name = models.CharField(max_length=50, blank=True)
    email = models.EmailField(blank=True)
""",
}

_FIRST_SETTINGS = """
from pathlib import Path
import environ

env = environ.Env()
BASE_DIR = Path(__file__).parent
SECRET_KEY = "recipes"
ALLOWED_HOSTS = ["testserver"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "urls"
STATIC_URL = "static/"
DATABASES = {"default": env.db("DATABASE_URL")}
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
"""

_LAST_SETTINGS = """
for _options in KOMFORTKASSE.values():
    _options |= {
        "API_URL": env("API_URL"),
        "REQUEST_BUDGET": env.float("REQUEST_BUDGET", default=60),  # for a busy machine
    }
"""

_FIRST_LINES = """
import django

django.setup()

from django.core.management import call_command
from django.db import transaction
from komfortkasse_django.models import RemovedOrder
from shop.models import Order

call_command("migrate", run_syncdb=True, verbosity=0)

"""


class Project:
    """What it runs are processes, in which every warning is an error."""

    def __init__(self, path: Path, server: Server, komfortkasse: Komfortkasse) -> None:
        self.path = path
        self.server = server
        self.komfortkasse = komfortkasse
        self.environment = {
            "PATH": f"{path}/venv/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
            "DJANGO_SETTINGS_MODULE": "settings",
            "DATABASE_URL": f"sqlite:///{path}/shop.sqlite3",
            "API_URL": server.url,
            # Under the names that the manual gives them.
            "KOMFORTKASSE_API_KEY": "key-of-the-shop",
            "KOMFORTKASSE_API_KEY_BERLIN": "key-of-berlin",
            "KOMFORTKASSE_API_KEY_VIENNA": "key-of-vienna",
        }
        self._settings = [
            _FIRST_SETTINGS,
            recipe("Install", 0).with_apps(*_APPS).code,
            recipe("Install", 1).code,
        ]
        for name, text in _FILES.items():
            self.write(name, text)
        # The manual has a virtual environment there.
        self.write("venv/bin/python", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        (path / "venv/bin/python").chmod(0o755)
        self._write_settings()

    def write(self, name: str, text: str) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def add(self, added: Recipe) -> None:
        """Put a recipe's code into the files that it names."""
        for name, text in added.files.items():
            if name == "settings.py":
                self.add_settings(text)
            else:
                self.write(name, text)

    def add_settings(self, text: str) -> None:
        self._settings.append(text)
        self._write_settings()

    def replace_settings(self, old: str, new: str) -> None:
        self._settings[self._settings.index(old)] = new
        self._write_settings()

    def _write_settings(self) -> None:
        self.write("settings.py", "\n".join([*self._settings, _LAST_SETTINGS]))

    def sh(self, command: str) -> str:
        """Run a line of the shell to its good end and return what it wrote."""
        completed = self.start(command)
        assert completed.returncode == 0, completed.stdout
        return completed.stdout

    def start(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", command],
            cwd=self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    def run(self, *code: str) -> str:
        """Run Python that knows the shop's models and has a migrated database."""
        self.write("script.py", _FIRST_LINES + "\n".join(code))
        return self.sh("python script.py")

    def mirror(self, database: str = "shop.sqlite3") -> list[tuple[str, str]]:
        """Order numbers and states, sorted."""
        connection = sqlite3.connect(self.path / database)
        try:
            query = "SELECT order_number, state FROM komfortkasse_django_removedorder ORDER BY 1"
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def assert_removed(self, *numbers: str) -> None:
        """These orders, and no others: once each."""
        assert sorted(self.komfortkasse.numbers) == sorted(numbers)
        assert self.mirror() == [(number, "removed") for number in sorted(numbers)]
