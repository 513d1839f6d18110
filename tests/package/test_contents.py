"""The distributions hold what they must and nothing else, and always the same."""

import re
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message

import pytest
import trove_classifiers

import komfortkasse_django
from tests.package.conftest import BUILT_AT, ROOT, SECRET, run

VERSION = komfortkasse_django.__version__
NAME = f"komfortkasse_django-{VERSION}"
LEFT_OVERS = re.compile(
    r"(^|/)(\.env|\.git.*|__pycache__|\..*_cache|\.venv.*|.*\.(pyc|sqlite3))(/|$)"
)


@pytest.fixture(scope="session")
def sdist(built) -> dict[str, bytes]:
    with tarfile.open(built.sdist) as archive:
        assert all(member.isfile() for member in archive)
        return {
            member.name.removeprefix(f"{NAME}/"): archive.extractfile(member).read()
            for member in archive
        }


@pytest.fixture(scope="session")
def wheel(built) -> dict[str, bytes]:
    with zipfile.ZipFile(built.wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def metadata(wheel) -> Message:
    return message_from_bytes(wheel[f"{NAME}.dist-info/METADATA"])


def test_builds_without_a_warning(built, built_elsewhere):
    assert not re.findall("(?im)^.*(?:warn|deprecat).*$", built.log + built_elsewhere.log)


def test_the_same_files_make_the_same_distributions(built, built_elsewhere):
    assert built.sdist.read_bytes() == built_elsewhere.sdist.read_bytes()
    assert built.wheel.read_bytes() == built_elsewhere.wheel.read_bytes()


def test_the_source_distribution_holds_the_repository(sdist, tracked):
    made = {name for name in sdist if name == "PKG-INFO" or ".egg-info/" in name}

    taken = sdist.keys() - made

    assert taken == tracked - {".gitignore"}
    # setuptools writes setup.cfg anew.
    assert all(sdist[name] == (ROOT / name).read_bytes() for name in taken - {"setup.cfg"})


def test_the_source_distribution_tells_nothing_of_who_built_it(built):
    with tarfile.open(built.sdist) as archive:
        members = archive.getmembers()

    assert {(each.uid, each.gid, each.uname, each.gname) for each in members} == {(0, 0, "", "")}
    assert {each.mtime for each in members} == {BUILT_AT}
    assert {each.mode for each in members} == {0o644, 0o755}


def test_what_is_to_be_run_can_be(built):
    with tarfile.open(built.sdist) as archive:
        modes = {member.name.removeprefix(f"{NAME}/"): member.mode for member in archive}

    assert {name for name, mode in modes.items() if mode == 0o755} == {
        name for name in modes if (ROOT / name).is_file() and (ROOT / name).stat().st_mode & 0o100
    }


def test_the_wheel_holds_the_package(wheel, tracked):
    made = {
        f"{NAME}.dist-info/{name}"
        for name in ("METADATA", "RECORD", "WHEEL", "top_level.txt", "licenses/LICENSE")
    }
    package = {name for name in tracked if name.startswith("komfortkasse_django/")}

    assert wheel.keys() == package | made
    assert all(wheel[name] == (ROOT / name).read_bytes() for name in package)


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "locale/de/LC_MESSAGES/django.mo",
        "locale/de/LC_MESSAGES/django.po",
        "management/commands/komfortkasse_push.py",
        "migrations/0001_initial.py",
        "static/komfortkasse_django/admin.css",
        "templates/komfortkasse_django/order_change_form.html",
    ],
)
def test_both_hold_what_is_easily_forgotten(name, sdist, wheel):
    assert f"komfortkasse_django/{name}" in sdist
    assert f"komfortkasse_django/{name}" in wheel


def test_neither_holds_what_work_leaves(built_elsewhere, sdist, wheel):
    with tarfile.open(built_elsewhere.sdist) as archive:
        contents = [archive.extractfile(member).read() for member in archive]
    with zipfile.ZipFile(built_elsewhere.wheel) as archive:
        contents += [archive.read(name) for name in archive.namelist()]

    assert [name for name in {*sdist, *wheel} if LEFT_OVERS.search(name)] == []
    assert not any(SECRET.encode() in content for content in contents)


def test_the_description_renders(built):
    assert "PASSED with" not in run(
        sys.executable, "-m", "twine", "check", "--strict", built.sdist, built.wheel, cwd=ROOT
    )


def test_the_version_is_that_of_the_package(metadata):
    changelog = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")

    assert metadata["Version"] == VERSION
    assert re.search(r"(?m)^(\S+) \(.+\)\n=+$", changelog)[1] == VERSION


def test_pypi_knows_the_classifiers(metadata):
    assert set(metadata.get_all("Classifier")) <= trove_classifiers.classifiers


def test_depends_on_django_and_requests_only(metadata):
    requirements = [text for text in metadata.get_all("Requires-Dist") if "extra ==" not in text]

    assert [re.match("[A-Za-z]+", text)[0] for text in requirements] == ["Django", "requests"]


def test_names_no_address_that_nobody_reads(metadata):
    names = ("Home-page", "Download-URL", "Author-email", "Maintainer-email")

    assert [name for name in names if name in metadata] == []
    # The only one that exists: the repository has no public home yet.
    assert metadata.get_all("Project-URL") == ["Komfortkasse, https://komfortkasse.eu"]
