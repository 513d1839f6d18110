"""How each task engine is run, and what it keeps in its broker."""

import json
import pickle
import shlex
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from tests.support.manual import Recipe, recipe


@dataclass
class Payload:
    raw: bytes
    """All that the broker keeps of a task, as clear text."""
    arguments: list[object]


class Engine(ABC):
    """How one engine is run, and where its tasks lie."""

    commands: Recipe
    """What the manual says to run, the worker last."""
    broker: str
    """The environment variable that says where the broker is."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.queue = environment["QUEUE"]

    @property
    def worker(self) -> Sequence[str]:
        """The manual's worker, as arguments of ``python -m``, for the tests' queue."""
        words = shlex.split(self.commands.lines[-1])
        if words[0].startswith("DJANGO_SETTINGS_MODULE="):
            del words[0]
        if words[:2] == ["python", "manage.py"]:
            words[:2] = ["django"]
        return [self.queue if word == "default" else word for word in words]

    @abstractmethod
    def payloads(self) -> list[Payload]:
        """What waits for a worker, which is left waiting."""

    @abstractmethod
    def clear(self) -> None:
        """Leave nothing behind."""


class Database(Engine):
    """django-tasks-db."""

    commands = recipe("In the database: django-tasks-db", 2)
    broker = "TASK_DATABASE_URL"

    def payloads(self) -> list[Payload]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT row_to_json(task)::text, args_kwargs::text"
                " FROM django_tasks_database_dbtaskresult AS task WHERE status = 'READY'"
            )
            rows = cursor.fetchall()
        return [Payload(raw.encode(), _arguments(**json.loads(calls))) for raw, calls in rows]

    def clear(self) -> None:
        """Nothing is to be done: the tests' database is emptied anyway."""


class RQ(Engine):
    """django-tasks-rq."""

    commands = recipe("Redis: django-tasks-rq", 2)
    broker = "REDIS_URL"

    def _connect(self):
        from redis import Redis

        return Redis.from_url(self.environment[self.broker])

    def payloads(self) -> list[Payload]:
        with self._connect() as redis:
            jobs = [
                redis.hgetall(b"rq:job:" + key)
                for key in redis.lrange(f"rq:queue:{self.queue}", 0, -1)
            ]
        payloads = []
        for job in jobs:
            data = zlib.decompress(job.pop(b"data"))
            _, _, args, kwargs = pickle.loads(data)
            payloads.append(Payload(data + repr(job).encode(), _arguments(args, kwargs)))
        return payloads

    def clear(self) -> None:
        with self._connect() as redis:
            for key in redis.scan_iter("rq:job:*"):
                if redis.type(key) == b"hash" and redis.hget(key, "origin") == self.queue.encode():
                    redis.delete(key)
            for key in redis.scan_iter(f"rq:*:{self.queue}"):
                redis.delete(key)
            redis.srem("rq:queues", f"rq:queue:{self.queue}")


class Celery(Engine):
    """django-tasks-fennel."""

    commands = recipe("RabbitMQ and Celery: django-tasks-fennel", 2)
    broker = "RABBITMQ_URL"

    def _connect(self):
        from kombu import Connection

        return Connection(self.environment[self.broker])

    def payloads(self) -> list[Payload]:
        payloads = []
        # Never acknowledged: the end of the connection puts the messages back.
        with self._connect() as broker, broker.channel() as channel:
            # Celery makes the queue when it first sends to it.
            channel.queue_declare(self.queue, durable=True, auto_delete=False)
            while message := channel.basic_get(self.queue):
                args, kwargs, _ = json.loads(message.body)
                raw = f"{message.body} {message.headers} {message.properties}".encode()
                payloads.append(Payload(raw, _arguments(args, kwargs)))
        return payloads

    def clear(self) -> None:
        with self._connect() as broker, broker.channel() as channel:
            channel.queue_delete(self.queue)


def _arguments(args: Sequence[object], kwargs: dict[str, object]) -> list[object]:
    assert kwargs == {}
    return list(args)


ENGINES = {"db": Database, "rq": RQ, "celery": Celery}
