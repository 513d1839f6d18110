"""What the manual tells an operator to run, run."""

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from django.apps import apps

import komfortkasse_django
from tests.recipes.project import ROOT
from tests.support.loopback import http_answer
from tests.support.manual import recipe
from tests.support.running import until

DELETE = 'Order.objects.create(number="{0}"); Order.objects.get(number="{0}").delete()'


@pytest.fixture
def pending(project):
    """An order that was deleted, and is to be removed by ``komfortkasse_push``."""
    project.environment["REQUEST_BUDGET"] = "0"
    project.run(DELETE.format("1"))
    assert project.mirror() == [("1", "pending")]
    return "1"


def test_demo():
    (command,) = recipe("1. Start the demo").lines

    assert os.access(ROOT / command, os.X_OK)
    assert f"{command} --check\n" in (ROOT / ".ci" / "run").read_text()


def test_cron(project, pending):
    (line,) = recipe("With cron").lines
    *times, user, command = line.split(maxsplit=6)
    assert times == ["*"] * 5
    assert user == "shop"

    written = project.sh(f"cd / && {command.replace('/srv/shop', str(project.path))}")

    assert written == ""  # cron would send it by mail
    project.assert_removed(pending)


class TestSystemd:
    @pytest.fixture
    def unit(self, project):
        return recipe("With systemd").code.replace("/srv/shop", str(project.path))

    def test_service(self, project, pending, unit):
        parser = configparser.ConfigParser()
        parser.read_string(unit)
        service = parser["Service"]

        process = subprocess.Popen(
            shlex.split(service["ExecStart"]),
            cwd=service["WorkingDirectory"],
            env=project.environment,
            stdin=subprocess.DEVNULL,
        )
        try:
            until(lambda: project.mirror() == [(pending, "removed")], 60)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
        project.assert_removed(pending)

    @pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
    def test_unit(self, project, unit):
        project.write("komfortkasse.service", unit)

        # It says what is wrong, and exits with 0.
        assert project.sh("systemd-analyze verify ./komfortkasse.service") == ""


class TestMonitoring:
    def by_cron(self, project):
        (line,) = recipe("Monitoring and alerts").lines
        when, user, command = line.split(maxsplit=2)
        assert (when, user) == ("@hourly", "shop")
        return project.sh(f"cd / && {command.replace('/srv/shop', str(project.path))}")

    def test_cron_writes_nothing_while_all_is_well(self, project, pending):
        assert self.by_cron(project) == ""

    def test_cron_writes_what_is_wrong(self, project, pending):
        project.run('RemovedOrder.objects.update(state="failed", next_attempt_at=None)')

        told = self.by_cron(project)
        assert told.startswith("PROBLEM: shop default, since ")
        assert ": 1 refused by Komfortkasse; " in told

    def test_cron_writes_it_in_german(self, project, pending):
        project.add_settings('LANGUAGE_CODE = "de"')
        project.run('RemovedOrder.objects.update(state="failed", next_attempt_at=None)')

        told = self.by_cron(project)
        assert told.startswith("PROBLEM: Shop default, seit ")
        assert ": 1 von Komfortkasse abgelehnt; " in told


class TestExitCodes:
    COMMANDS = ("push", "remove 9", "prune --older-than 1", "status")

    @pytest.fixture
    def code(self, project):
        return lambda command: project.start(f"python manage.py komfortkasse_{command}").returncode

    def test_of_ping(self, project, code):
        assert code("ping") == 0
        project.komfortkasse.on_question = lambda number: http_answer(
            b'{"error": "No"}', status="401 Unauthorized"
        )
        assert code("ping") == 1

    def answer(self, project, status):
        answer = http_answer(b'{"error": "No"}', status=status)
        project.komfortkasse.on_request = lambda number: answer

    def test_of_what_goes_well(self, project, pending, code):
        assert [code(command) for command in self.COMMANDS] == [0, 0, 0, 0]

    def test_of_push_that_leaves_something_due(self, project, pending, code):
        project.run(DELETE.format("2"))

        assert code("push --limit 1") == 1

    def test_of_push_while_all_back_off(self, project, pending, code):
        self.answer(project, "503 Service Unavailable")

        assert code("push") == 0
        assert project.mirror() == [(pending, "pending")]

    @pytest.mark.parametrize(
        ("status", "state"),
        [("503 Service Unavailable", "pending"), ("400 Bad Request", "failed")],
    )
    def test_of_remove(self, project, code, status, state):
        project.run()
        self.answer(project, status)

        assert code("remove 9") == 1
        assert project.mirror() == [("9", state)]
        assert code("remove ''") == 1  # nothing is recorded
        assert project.mirror() == [("9", state)]

    @pytest.mark.parametrize(
        "change", ['state="failed", next_attempt_at=None', 'created_at="2020-01-01T00:00Z"']
    )
    def test_of_status(self, project, pending, code, change):
        project.run(f"RemovedOrder.objects.update({change})")

        assert code("status") == 1

    def test_of_status_that_cannot_tell(self, code):
        assert code("status") == 2  # there is no table

    @pytest.mark.parametrize(
        "command",
        [
            "push --limit 0",
            "ping --shop none",
            "remove 9 --shop none",
            "prune --older-than 0",
            "status --max-age 0",
        ],
    )
    def test_of_unusable_arguments(self, code, command):
        assert code(command) == 2

    def test_while_a_check_has_errors(self, project, pending, code):
        project.add_settings('KOMFORTKASSE["default"]["CONCURRENCY"] = 0')

        assert [code(command) for command in self.COMMANDS] == [1, 1, 1, 0]
        assert code("ping") == 1
        project.run(DELETE.format("2"))  # the shop goes on
        assert project.mirror() == [("1", "pending"), ("2", "pending")]


class TestWhenSomethingIsWrong:
    ROWS = """
from django.utils import timezone

for number, shop, state, created_at in [
    ("1", "default", "failed", "2020-01-01T00:00Z"),
    ("2", "default", "pending", "2020-01-01T00:00Z"),
    ("3", "default", "removed", "2020-01-01T00:00Z"),
    ("4", "default", "pending", "2999-01-01T00:00Z"),
    ("5", "closed", "pending", "2999-01-01T00:00Z"),
]:
    RemovedOrder.objects.create(
        shop=shop, order_number=number, state=state, requested_via="delete", created_at=created_at,
        last_error="No" if state == "failed" else "",
        next_attempt_at=timezone.now() if state == "pending" else None,
    )
"""

    def test_in_the_shell(self, project):
        written = project.run(self.ROWS, recipe("When something is wrong").code)

        assert sorted(written.splitlines()) == ["default 1 failed 0 No", "default 2 pending 0 "]
        project.sh("python manage.py komfortkasse_push")
        assert project.mirror() == [(number, "removed") for number in "1234"]
        assert sorted(project.komfortkasse.numbers) == ["1", "2", "4"]


def test_logs_to_standard_error(project, pending):
    answer = http_answer(b'{"error": "No"}', status="401 Unauthorized")
    project.komfortkasse.on_request = lambda number: answer

    written = project.sh("python manage.py komfortkasse_push -v 0 2>&1 >/dev/null")

    assert written == (
        "Shop 'default' is paused for 15 s:"
        " Komfortkasse does not accept the API key (HTTP 401: No)\n"
    )


def test_restoring_a_backup(project, pending):
    project.run('Order.objects.create(number="2")')
    database, backup = project.path / "shop.sqlite3", project.path / "backup.sqlite3"
    shutil.copy(database, backup)
    project.run('Order.objects.get(number="2").delete()')
    project.sh("python manage.py komfortkasse_push")
    project.assert_removed(pending, "2")

    shutil.copy(backup, database)
    assert project.mirror() == [(pending, "pending")]
    project.sh("python manage.py komfortkasse_push")

    assert project.mirror() == [(pending, "removed")]
    assert sorted(project.komfortkasse.numbers) == [pending, pending, "2"]
    assert project.run("print(Order.objects.get().number)") == "2\n"


def test_removing_many(project):
    project.run()
    project.write("numbers.txt", "".join(f"{number}\n" for number in range(500)))
    would, remove = recipe("Remove many orders").lines

    assert "500" in project.sh(would)
    assert project.komfortkasse.numbers == []
    assert "500" in project.sh(remove)
    project.assert_removed(*map(str, range(500)))


def test_reconciling(project):
    (line,) = recipe("Reconcile").lines
    *times, user, command = line.split(maxsplit=6)
    assert (times, user) == (["30", "3", "*", "*", "*"], "shop")
    project.add(recipe("Orders that end without being deleted", 0))
    project.run(
        'Order.objects.create(number="1"); Order.objects.create(number="2")',
        'Order.objects.filter(number="2").update(status="cancelled")',
    )
    assert project.mirror() == []

    written = project.sh(f"cd / && {command.replace('/srv/shop', str(project.path))}")

    assert "Never recorded, one call to Komfortkasse for each: 1 (2)\n" in written
    project.sh("python manage.py komfortkasse_push")
    project.assert_removed("2")


def test_pruning(project, pending):
    (line,) = recipe("Delete old removals").lines
    when, user, command = line.split(maxsplit=2)
    assert (when, user) == ("@weekly", "shop")
    project.sh("python manage.py komfortkasse_push")
    project.run(
        "from django.utils import timezone",
        "from datetime import timedelta",
        "then = timezone.now() - timedelta(days=366)",
        "RemovedOrder.objects.update(finished_at=then, amount_paid=10, settled_at=then)",
        DELETE.format("2"),
    )

    written = project.sh(f"cd / && {command.replace('/srv/shop', str(project.path))}")

    assert written == "Deleted 1 finished removal.\n"
    assert project.mirror() == [("2", "pending")]


def test_moving_the_mirror(project, pending):
    (dump,) = recipe("The mirror on another database", 0).lines
    settings = recipe("The mirror on another database", 1)
    fill = recipe("The mirror on another database", 2).lines

    project.sh(dump)
    project.add(settings)
    project.environment["MIRROR_DATABASE_URL"] = f"sqlite:///{project.path}/mirror.sqlite3"
    for line in fill:
        project.sh(line)

    assert project.mirror("mirror.sqlite3") == [(pending, "pending")]
    assert "komfortkasse_django.W001" in project.sh("python manage.py check")
    project.run(DELETE.format("2"))
    project.sh("python manage.py komfortkasse_push")
    assert sorted(project.komfortkasse.numbers) == ["1", "2"]
    assert project.mirror("mirror.sqlite3") == [("1", "removed"), ("2", "removed")]
    assert project.mirror() == [("1", "pending")]  # what was left behind
    tables = project.sh("python manage.py inspectdb --database mirror")
    models = apps.get_app_config("komfortkasse_django").get_models()
    expected = {"django_migrations", *(model._meta.db_table for model in models)}
    assert set(re.findall(r"db_table = '(.*)'", tables)) == expected


class TestUpgrading:
    VERSION = "import komfortkasse_django; print(komfortkasse_django.__version__)"

    @pytest.fixture
    def pip(self, project, tmp_path):
        """Run pip in an environment of its own, which has an old version and may get this one."""
        shutil.rmtree(tmp_path / "venv")
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True
        )
        project.write("venv/bin/pip", f'#!/bin/sh\nexec {sys.executable} -m pip "$@"\n')
        (tmp_path / "venv" / "bin" / "pip").chmod(0o755)
        for version in ("0.0.1", komfortkasse_django.__version__):
            build_wheel(tmp_path, version)
        # Everything else is taken from here; the package is not: only pip sees where it is.
        libraries = sysconfig.get_path("purelib")
        with_libraries = {**project.environment, "PYTHONPATH": libraries}
        alone = {
            "PATH": project.environment["PATH"],
            "PIP_PYTHON": str(tmp_path / "venv" / "bin" / "python"),
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            "PIP_FIND_LINKS": str(tmp_path),
        }

        def pip(command):
            project.environment = alone
            project.sh(command)
            project.environment = with_libraries

        return pip

    def test_keeps_what_is_pending(self, project, pip):
        install, migrate = recipe("Upgrade").lines
        pip("pip install komfortkasse_django==0.0.1")
        project.environment["REQUEST_BUDGET"] = "0"
        assert project.run(self.VERSION, DELETE.format("1")) == "0.0.1\n"

        pip(install)
        project.sh(migrate)

        assert project.mirror() == [("1", "pending")]
        project.sh("python manage.py komfortkasse_push")
        assert project.run(self.VERSION) == f"{komfortkasse_django.__version__}\n"
        project.assert_removed("1")


def build_wheel(directory: Path, version: str) -> None:
    """The package as it is, under another version."""
    info = f"komfortkasse_django-{version}.dist-info"
    package = ROOT / "komfortkasse_django"
    with zipfile.ZipFile(
        directory / f"komfortkasse_django-{version}-py3-none-any.whl", "w"
    ) as wheel:
        for file in package.rglob("*"):
            if file.is_file() and file.suffix != ".pyc":
                content = file.read_bytes()
                if file == package / "__init__.py":
                    content = content.replace(
                        komfortkasse_django.__version__.encode(), version.encode()
                    )
                wheel.writestr(str(file.relative_to(ROOT)), content)
        wheel.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: komfortkasse_django\nVersion: {version}\n",
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
