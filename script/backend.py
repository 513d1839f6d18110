"""Builds with setuptools. The same files always give the same distributions.

Without this, setuptools stores who built them, when, and with which umask.
"""

import gzip
import os
import tarfile
import time
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - all the other hooks

# A frontend runs this in its own process.
os.umask(0o022)


def build_sdist(sdist_directory: str, config_settings: dict[str, object] | None = None) -> str:
    """Build the source distribution; ``SOURCE_DATE_EPOCH`` is its time, in seconds."""
    name = build_meta.build_sdist(sdist_directory, config_settings)
    path = Path(sdist_directory, name)
    with tarfile.open(path) as built:
        # Without directories: unpacking the files creates them.
        members = [(member, built.extractfile(member)) for member in built if member.isfile()]
        seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
        again = path.with_suffix(".again")
        with (
            again.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=seconds) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for member, content in sorted(members, key=lambda each: each[0].name):
                plain = tarfile.TarInfo(member.name)
                plain.size, plain.mtime = member.size, seconds
                plain.mode = 0o755 if member.mode & 0o100 else 0o644
                archive.addfile(plain, content)
    again.replace(path)
    return name
