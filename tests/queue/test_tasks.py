"""Delivery through Django's Tasks framework: django.tasks, or django-tasks on Django 5.2."""

import json
import sys
from importlib import import_module

import django
import pytest
from django.urls import reverse
from django.utils.module_loading import import_string

from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.queue import delivery
from tests.shop.models import Order

FRAMEWORK = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
pytest.importorskip(FRAMEWORK, reason="Django 5.2 has Tasks only where django-tasks is installed")

pytestmark = pytest.mark.django_db(transaction=True)

DummyBackend = import_string(f"{FRAMEWORK}.backends.dummy.DummyBackend")


class BrokenBackend(DummyBackend):
    attempts = 0

    def enqueue(self, *args, **kwargs):
        type(self).attempts += 1
        raise ConnectionRefusedError("the broker is down")


class CeleryLikeTask(import_string(f"{FRAMEWORK}.base.Task")):
    pass


class CeleryLikeBackend(DummyBackend):
    task_class = CeleryLikeTask


@pytest.fixture
def enqueued(settings, monkeypatch):
    """The results of a backend that only collects tasks, by its alias."""
    dummy = {"BACKEND": f"{FRAMEWORK}.backends.dummy.DummyBackend"}
    settings.TASKS = {
        "default": dummy,
        "slow": {**dummy, "QUEUES": ["shop"]},
        "down": {"BACKEND": "tests.queue.test_tasks.BrokenBackend"},
    }
    backends = import_string(f"{FRAMEWORK}.task_backends")
    return lambda alias="default": backends[alias].results


def test_enqueues_row_ids_in_chunks(enqueued, komfortkasse):
    Order.objects.bulk_create(Order(number=str(number)) for number in range(250))

    Order.objects.all().delete()

    assert komfortkasse.numbers == []
    results = enqueued()
    assert [len(result.args[2]) for result in results] == [100, 100, 50]
    keys = set(RemovedOrder.objects.values_list("pk", flat=True))
    assert {key for result in results for key in result.args[2]} == keys
    assert {tuple(result.args[:2]) for result in results} == {("default", "default")}
    assert json.loads(json.dumps(results[0].args)) == results[0].args
    assert results[0].kwargs == {}


def test_worker_pushes_what_is_still_due(enqueued, komfortkasse):
    for number in ("1001", "1002"):
        Order.objects.create(number=number)
    Order.objects.all().delete()
    RemovedOrder.objects.filter(order_number="1001").update(next_attempt_at=None)
    [result] = enqueued()

    import_string(result.task.module_path).call(*result.args)

    assert komfortkasse.numbers == ["1002"]


def test_trying_again_in_the_admin_enqueues_as_well(enqueued, komfortkasse, admin_client):
    row = RemovedOrder.objects.create(shop="default", order_number="1001", state="failed")

    admin_client.post(reverse("admin:komfortkasse_django_removedorder_try_again", args=[row.pk]))

    (task,) = enqueued()
    assert task.args == ["default", "default", [row.pk]]
    assert komfortkasse.numbers == []


def test_trying_again_enqueues_nothing_for_a_shop_that_is_off(enqueued, configure, admin_client):
    row = RemovedOrder.objects.create(shop="default", order_number="1001", state="failed")
    configure(ENABLED=False)

    admin_client.post(reverse("admin:komfortkasse_django_removedorder_try_again", args=[row.pk]))

    assert enqueued() == []
    assert RemovedOrder.objects.due().get() == row


def test_uses_the_backend_and_queue_of_the_shop(enqueued, configure):
    configure(TASK_BACKEND="slow", TASK_QUEUE="shop")

    Order.objects.create(number="1001").delete()

    [result] = enqueued("slow")
    assert (result.backend, result.task.queue_name) == ("slow", "shop")


def test_enqueues_also_where_nothing_may_be_sent_in_process(enqueued, configure):
    configure(REQUEST_BUDGET=0)

    Order.objects.create(number="1001").delete()

    assert len(enqueued()) == 1


@pytest.mark.parametrize(
    ("backend", "reason"), [("down", "the broker is down"), ("nothing", "nothing")]
)
def test_backend_that_is_down_or_missing_costs_the_shop_nothing(
    enqueued, configure, caplog, backend, reason
):
    configure(TASK_BACKEND=backend)

    Order.objects.create(number="1001").delete()

    assert not Order.objects.exists()
    assert RemovedOrder.objects.due().count() == 1
    assert reason in caplog.text


def test_broker_that_is_down_is_left_alone_for_a_minute(enqueued, configure, monkeypatch):
    """Finding out may take seconds, for each of many deletions."""
    configure(TASK_BACKEND="down")
    monkeypatch.setattr(BrokenBackend, "attempts", 0)
    now = 1000.0
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now)

    def delete() -> int:
        Order.objects.create(number="1001").delete()
        return BrokenBackend.attempts

    assert [delete(), delete()] == [1, 1]
    now += 59
    assert delete() == 1
    now += 2
    assert delete() == 2
    assert RemovedOrder.objects.due().count() == 4
    configure(TASK_BACKEND="default")
    Order.objects.create(number="1002").delete()
    assert len(enqueued()) == 1


@pytest.mark.parametrize(("budget", "tasks"), [(5, 3), (4, 2), (0, 1)])
def test_a_slow_broker_costs_no_more_than_the_budget(
    enqueued, configure, monkeypatch, budget, tasks
):
    configure(REQUEST_BUDGET=budget)
    now = 1000.0
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now)
    enqueue = DummyBackend.enqueue

    def take_two_seconds(*args, **kwargs):
        nonlocal now
        now += 2
        return enqueue(*args, **kwargs)

    monkeypatch.setattr(DummyBackend, "enqueue", take_two_seconds)
    Order.objects.bulk_create(Order(number=str(number)) for number in range(250))

    Order.objects.all().delete()

    assert len(enqueued()) == tasks
    assert RemovedOrder.objects.due().count() == 250


def test_only_the_queue_that_failed_is_left_alone(enqueued, configure, settings, monkeypatch):
    settings.TASKS = {
        **settings.TASKS,
        "down": {"BACKEND": "tests.queue.test_tasks.BrokenBackend", "QUEUES": ["a", "b"]},
    }
    monkeypatch.setattr(BrokenBackend, "attempts", 0)

    for queue in ("a", "b"):
        configure(TASK_BACKEND="down", TASK_QUEUE=queue)
        Order.objects.create(number="1001").delete()

    assert BrokenBackend.attempts == 2


def test_another_backend_under_the_same_alias_is_not_left_alone(enqueued, configure, settings):
    configure(TASK_BACKEND="down")
    Order.objects.create(number="1001").delete()
    settings.TASKS = {**settings.TASKS, "down": settings.TASKS["default"]}

    Order.objects.create(number="1002").delete()

    assert len(enqueued("down")) == 1


def test_immediate_backend_is_bypassed(settings, komfortkasse):
    """Its budget would be unlimited."""
    settings.TASKS = {
        "default": {"BACKEND": f"{FRAMEWORK}.backends.immediate.ImmediateBackend", "QUEUES": ["a"]}
    }

    Order.objects.create(number="1001").delete()

    assert komfortkasse.numbers == ["1001"]


def test_without_a_framework_delivers_in_process(monkeypatch, komfortkasse):
    monkeypatch.setattr(delivery, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "komfortkasse_django.tasks", None)

    Order.objects.create(number="1001").delete()

    assert komfortkasse.numbers == ["1001"]


@pytest.fixture
def load_tasks(monkeypatch):
    """Import the module of the task anew, as a worker does at its start."""

    def load():
        monkeypatch.delitem(sys.modules, "komfortkasse_django.tasks", raising=False)
        return import_module("komfortkasse_django.tasks").push_removed_orders

    return load


def test_task_is_defined_for_the_first_enabled_shop(settings, configure, load_tasks):
    """A backend may need its own class of tasks, like those for Celery."""
    settings.TASKS = {
        "default": {"BACKEND": f"{FRAMEWORK}.backends.dummy.DummyBackend"},
        "celery": {"BACKEND": "tests.queue.test_tasks.CeleryLikeBackend", "QUEUES": ["shop"]},
    }
    celery = {"TASK_BACKEND": "celery", "TASK_QUEUE": "shop"}
    configure(aliases={"off": {"ENABLED": False}, "a": celery, "b": {}})

    task = load_tasks()

    assert isinstance(task, CeleryLikeTask)
    assert (task.backend, task.queue_name) == ("celery", "shop")
    assert isinstance(task.using(backend="default", queue_name="default"), CeleryLikeTask)


@pytest.mark.parametrize("setting", [None, {}, {"default": {"ENABLED": False}}])
def test_module_of_the_task_can_be_imported_without_a_shop(settings, load_tasks, setting):
    settings.KOMFORTKASSE = setting

    assert load_tasks().__name__ == "push_removed_orders"


@pytest.mark.skipif(django.VERSION >= (6, 0), reason="Django 6.0 brings Tasks")
def test_module_of_the_task_can_be_imported_without_a_framework(monkeypatch, load_tasks):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    assert load_tasks().__name__ == "push_removed_orders"
