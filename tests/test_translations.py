"""German is complete, current and shipped as it is written."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polib
import pytest
from django.utils import translation

import komfortkasse_django
from komfortkasse_django.models import RemovedOrder
from komfortkasse_django.schema import PaymentStatus

PACKAGE = Path(komfortkasse_django.__file__).parent
MESSAGES = PACKAGE / "locale" / "de" / "LC_MESSAGES"
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%s|\{\w*\}")

Strings = set[tuple[str | None, str, str]]


@pytest.fixture
def catalogue() -> polib.POFile:
    return polib.pofile(str(MESSAGES / "django.po"))


def strings(catalogue: polib.POFile) -> Strings:
    return {(entry.msgctxt, entry.msgid, entry.msgid_plural) for entry in catalogue}


def texts(entry: polib.POEntry) -> Iterator[tuple[str, str]]:
    """Each original with its translation."""
    if entry.msgid_plural:
        yield entry.msgid, entry.msgstr_plural[0]
        yield entry.msgid_plural, entry.msgstr_plural[1]
    else:
        yield entry.msgid, entry.msgstr


@pytest.mark.skipif(not shutil.which("xgettext"), reason="needs gettext")
def test_has_exactly_the_strings_of_the_package(catalogue, tmp_path):
    copy = tmp_path / "komfortkasse_django"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(copy / "locale" / "de")
    subprocess.run(
        [sys.executable, "-m", "django", "makemessages", "--locale", "de", "--verbosity", "0"],
        cwd=copy,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "", "PYTHONPATH": ""},
        check=True,
    )

    extracted = polib.pofile(str(copy / "locale" / "de" / "LC_MESSAGES" / "django.po"))

    assert strings(catalogue) == strings(extracted)


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
