"""What the manual says of one engine alone."""

import os
import shlex
import threading

import pytest
from django.core.management import call_command
from django.db import connection

from tests.engines.test_engines import delete, place
from tests.support.mirror import states
from tests.support.running import until


def only(engine):
    return pytest.mark.skipif(os.environ.get("ENGINE") != engine, reason=f"of {engine} alone")


def task_states():
    with connection.cursor() as cursor:
        cursor.execute("SELECT status FROM django_tasks_database_dbtaskresult ORDER BY status")
        return [status for (status,) in cursor.fetchall()]


@only("db")
def test_what_is_run_before_the_worker(engine, finish):
    *before, _ = engine.commands.lines
    assert before
    for line in before:
        finish("django", *shlex.split(line.removeprefix("python manage.py")))


@only("db")
def test_task_of_a_killed_worker_is_listed_as_running(engine, start, finish, komfortkasse):
    place(1)
    delete(finish)
    in_flight = threading.Event()
    go_on = threading.Event()

    def stop(number):
        in_flight.set()
        go_on.wait(30)

    komfortkasse.on_request = stop
    worker = start(*engine.worker)
    assert in_flight.wait(60), worker.log
    worker.kill_all()
    go_on.set()
    watcher = start("django", "komfortkasse_push", "--watch", "0.5")
    until(lambda: states() == {"removed": 1}, 60)
    watcher.kill_all()

    assert task_states() == ["RUNNING"]


@only("db")
def test_finished_tasks_are_deleted_after_14_days(engine, start, finish, komfortkasse):
    place(1)
    delete(finish)
    worker = start(*engine.worker)
    until(lambda: task_states() == ["SUCCESSFUL"], 60)
    worker.kill_all()

    for days, left in ((13, ["SUCCESSFUL"]), (2, [])):
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE django_tasks_database_dbtaskresult"
                " SET finished_at = finished_at - %s * INTERVAL '1 day'",
                [days],
            )
        call_command("prune_db_task_results", queue_name=engine.queue, verbosity=0)
        assert task_states() == left


@only("celery")
def test_worker_finds_the_task_by_itself(engine, start, finish, komfortkasse):
    place(1)
    delete(finish)

    worker = start(*engine.worker)

    until(lambda: states() == {"removed": 1}, 60)
    assert "komfortkasse_django.tasks.push_removed_orders" in worker.log
    assert "unregistered" not in worker.log


@only("celery")
def test_check_warns_of_the_result_backend_alone(finish, komfortkasse):
    log = finish("django", "check").log

    assert "CeleryBackend requires a Celery result backend" in log
    assert "1 issue" in log
