"""The German translation is complete, current and compiled."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polib
import pytest
from django.contrib import admin
from django.template import Context, Template
from django.utils import translation
from django.utils.translation import gettext
from docutils import nodes

import komfortkasse_django
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.schema import PaymentStatus
from tests.support.manual import section

PACKAGE = Path(komfortkasse_django.__file__).parent
MESSAGES = PACKAGE / "locale" / "de" / "LC_MESSAGES"
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%s|\{\w*\}")


@pytest.fixture
def catalogue() -> polib.POFile:
    return polib.pofile(str(MESSAGES / "django.po"))


def texts(entry: polib.POEntry) -> Iterator[tuple[str, str]]:
    """Yield each original with its translation."""
    if entry.msgid_plural:
        yield entry.msgid, entry.msgstr_plural[0]
        yield entry.msgid_plural, entry.msgstr_plural[1]
    else:
        yield entry.msgid, entry.msgstr


def documented() -> list[str]:
    """Return the command of CONTRIBUTING.rst that finds the texts."""
    translate = section("Translate", PACKAGE.parent / "CONTRIBUTING.rst")
    directory, command, *_ = next(translate.findall(nodes.literal_block)).astext().splitlines()
    assert directory == f"cd {PACKAGE.name}"
    program, *arguments = shlex.split(command)
    assert program == "django-admin"
    # Without the working directory on the path: "queue" would be our package there.
    return [sys.executable, "-P", "-m", "django", *arguments]


@pytest.mark.skipif(not shutil.which("xgettext"), reason="needs gettext")
def test_is_what_makemessages_leaves(catalogue, tmp_path):
    copy = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        documented(),
        cwd=copy,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "", "PYTHONPATH": ""},
        stdout=subprocess.DEVNULL,
        check=True,
    )

    left = polib.pofile(str(copy / MESSAGES.relative_to(PACKAGE) / "django.po"))

    # Versions of gettext wrap lines in different ways.
    assert list(map(str, left)) == list(map(str, catalogue))
    assert left.metadata == catalogue.metadata


def translated(path: Path) -> Iterator[str]:
    """Yield the texts that a module translates, also in f-strings, where gettext finds none."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name == "_" or name.removesuffix("_lazy").endswith("gettext"):
                # The first argument is the context.
                yield ast.literal_eval(node.args[name.startswith(("pgettext", "npgettext"))])


def test_has_what_gettext_does_not_find(catalogue):
    msgids = {entry.msgid for entry in catalogue}

    texts = {text for path in PACKAGE.rglob("*.py") for text in translated(path)}

    assert texts
    assert texts <= msgids


def test_is_complete(catalogue):
    assert catalogue.untranslated_entries() == []
    assert catalogue.fuzzy_entries() == []
    assert catalogue.obsolete_entries() == []
    for entry in catalogue:
        for original, translated in texts(entry):
            assert translated.strip(), original


def test_keeps_placeholders_and_punctuation(catalogue):
    for entry in catalogue:
        for original, translated in texts(entry):
            assert sorted(PLACEHOLDER.findall(translated)) == sorted(PLACEHOLDER.findall(original))
            assert translated.endswith((".", "!", "?")) == original.endswith((".", "!", "?"))


def test_short_texts_have_a_context(catalogue):
    """All apps share one catalogue, so "New" may have the translation of another app."""
    locale = Path(admin.__file__).parent / "locale" / "de" / "LC_MESSAGES" / "django.mo"
    of_djangos_admin = {entry.msgid: entry.msgstr for entry in polib.mofile(str(locale))}
    for entry in catalogue:
        words = re.findall(r"[^\W\d_]{2,}", PLACEHOLDER.sub("", entry.msgid))
        is_short = len(words) < 5 and "komfortkasse" not in entry.msgid.lower()
        if is_short and of_djangos_admin.get(entry.msgid) != entry.msgstr:
            assert entry.msgctxt == "komfortkasse", entry.msgid


def test_another_apps_translations_stay_out(settings, tmp_path):
    """The translations of a project and of apps that are listed earlier come first."""
    messages = tmp_path / "de" / "LC_MESSAGES"
    messages.mkdir(parents=True)
    theirs = polib.POFile()
    theirs.metadata = {"Content-Type": "text/plain; charset=UTF-8"}
    theirs.extend(
        polib.POEntry(msgid=msgid, msgstr="von anderen")
        for msgid in ("Paid", "state", "pending", "Shop", "Try again")
    )
    theirs.save_as_mofile(str(messages / "django.mo"))
    settings.LOCALE_PATHS = [str(tmp_path)]

    with translation.override("de"):
        assert gettext("Paid") == "von anderen"
        assert PaymentStatus.PAID.label == "Bezahlt"
        assert RemovedOrder.State.PENDING.label == "ausstehend"
        assert RemovedOrder._meta.get_field("state").verbose_name == "Status"
        template = "{% load i18n %}{% translate 'Try again' context 'komfortkasse' %}"
        assert Template(template).render(Context()) == "Erneut versuchen"


def test_what_is_shipped_is_what_is_written(catalogue):
    shipped = polib.mofile(str(MESSAGES / "django.mo"))

    def content(file) -> dict[tuple[str | None, str, str], list[tuple[str, str]]]:
        return {
            (entry.msgctxt, entry.msgid, entry.msgid_plural): list(texts(entry)) for entry in file
        }

    assert content(shipped) == content(catalogue)


@pytest.mark.parametrize(
    ("status", "german"),
    [
        (PaymentStatus.UNPAID, "Nicht bezahlt"),
        (PaymentStatus.PAID, "Bezahlt"),
        (PaymentStatus.PAID_PARTIAL, "Teilweise bezahlt"),
        (PaymentStatus.CANCELLED, "Storniert/überfällig"),
        (PaymentStatus.REFUNDED, "Refundiert"),
        (PaymentStatus.REFUNDED_PARTIAL, "Teilweise refundiert"),
        (PaymentStatus.COLLECTION, "Inkasso"),
        (PaymentStatus.LEGACY, "Altbestellung"),
        (PaymentStatus.DISAPPEARED, "Verschwunden"),
    ],
)
def test_payment_statuses_are_those_of_komfortkasses_back_office(status, german):
    with translation.override("de"):
        assert status.label == german


def test_is_found():
    with translation.override("de"):
        assert RemovedOrder._meta.verbose_name_plural == "entfernte Bestellungen"
