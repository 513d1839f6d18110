"""Every page renders, has no long lines and only links to files that exist."""

import re
from pathlib import Path

import pytest
from docutils import nodes

from tests.support.readme import document

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.rst"), *ROOT.glob("*/*.rst")])

pytestmark = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def test_renders_without_warnings(path):
    assert list(document(path).findall(nodes.title))


def test_has_no_long_lines(path):
    rule = r"=+(?:  =+)+\n"
    # Tables of the benchmark.
    tables = re.compile(rf"^{rule}.*\n{rule}(?:.*\n)+?{rule}", re.MULTILINE)

    lines = tables.sub("", path.read_text(encoding="utf-8")).splitlines()

    assert [line for line in lines if len(line) > 100] == []


def test_leads_to_files_that_exist(path):
    places = [each["uri"] for each in document(path).findall(nodes.image)]
    places += [each.get("refuri", "") for each in document(path).findall(nodes.reference)]

    assert [
        place for place in places if "//" not in place and not (path.parent / place).exists()
    ] == []


def test_says_what_its_pictures_show(path):
    assert all(image.get("alt") for image in document(path).findall(nodes.image))
