"""Database servers of a test's own, which it may stop and kill."""

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from django.db import Error, connection

from tests.support.running import until


@dataclass(frozen=True)
class Product:
    """How a server is run with its defaults, on nothing but a Unix socket in ``{folder}``."""

    package: str
    """Debian's."""
    account: str
    """Runs it in root's place: servers refuse to be run by root."""
    orderly: signal.Signals
    """Asks it to end in good order, but not to wait for its clients."""
    installer: tuple[str, ...]
    """Makes its data directory."""
    server: tuple[str, ...]
    settings: dict[str, str]
    """Lead Django to it."""

    def is_here(self) -> bool:
        return all(_find(command[0]) for command in (self.installer, self.server))


PRODUCTS = {
    "postgresql": Product(
        package="postgresql",
        account="postgres",
        orderly=signal.SIGINT,
        installer=(
            "initdb",
            "--pgdata={folder}/data",
            "--username=root",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
        ),
        server=("postgres", "-D{folder}/data", "-k{folder}", "-p5432", "-clisten_addresses="),
        settings={
            "HOST": "{folder}",
            "PORT": "5432",  # a part of the socket's name
            "NAME": "postgres",
            "USER": "root",
            "PASSWORD": "",
        },
    ),
    "mysql": Product(
        package="mariadb-server",
        account="mysql",
        orderly=signal.SIGTERM,
        installer=(
            "mariadb-install-db",
            "--no-defaults",
            "--datadir={folder}/data",
            "--auth-root-authentication-method=normal",
        ),
        server=(
            "mariadbd",
            "--no-defaults",
            "--datadir={folder}/data",
            "--socket={folder}/socket",
            "--skip-networking",
        ),
        settings={
            "HOST": "{folder}/socket",
            "PORT": "",
            "NAME": "test",
            "USER": "root",
            "PASSWORD": "",
        },
    ),
}


class DatabaseServer:
    """A new server; ``settings`` are those of Django's DATABASES that lead to it."""

    def __init__(self, product: Product, folder: Path) -> None:
        self.settings = {
            key: value.format(folder=folder) for key, value in product.settings.items()
        }
        self._product = product
        self._folder = folder
        self._account = (
            {"user": product.account, "group": product.account} if os.geteuid() == 0 else {}
        )
        if self._account:
            shutil.chown(folder, **self._account)
        assert self._run(product.installer).wait(120) == 0, self.log
        self._process = self._run(product.server)

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    def start(self) -> None:
        """Run it, and wait until it lets ``connection`` in."""
        until(self._lets_in, 60)

    def stop(self) -> None:
        """Have it end in good order."""
        self._end(self._product.orderly)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _lets_in(self) -> bool:
        # PostgreSQL does not start while a process of the one that was killed is still ending.
        if self._process.poll() is not None:
            self._process = self._run(self._product.server)
        try:
            connection.ensure_connection()
        except Error:
            return False
        return True

    def _end(self, number: signal.Signals) -> None:
        connection.close()
        self._process.send_signal(number)
        self._process.wait(60)

    def _run(self, command: tuple[str, ...]) -> subprocess.Popen:
        program, *arguments = (part.format(folder=self._folder) for part in command)
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [_find(program), *arguments],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **self._account,
            )


def _find(program: str) -> str | None:
    """Look where Debian keeps servers, too: not on the PATH of every user."""
    folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    return shutil.which(program, path=os.pathsep.join([os.environ["PATH"], *folders, "/usr/sbin"]))
