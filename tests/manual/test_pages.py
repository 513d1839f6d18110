"""Every page renders, has no long lines and only links to files that exist."""

import re

import pytest
from docutils import nodes

from tests.support.manual import DOCS, ROOT, document

PAGES = sorted([*ROOT.glob("*.rst"), *ROOT.glob("benchmarks/*.rst"), *DOCS])

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


def test_leads_to_pages_and_labels_that_exist(path):
    """``script/docs`` checks this as well, but needs Sphinx."""
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r":(doc|ref):`(?:[^`<]*<)?([^`<>]+)>?`", text)
    labels = {
        label
        for page in DOCS
        for label in re.findall(r"(?m)^\.\. _([a-z-]+):$", page.read_text(encoding="utf-8"))
    }

    assert {target for role, target in targets if role == "ref"} <= labels
    for role, target in targets:
        assert role == "ref" or (path.parent / f"{target}.rst").exists()


def test_leads_to_addresses_that_are_whole(path):
    """Without the internet a test cannot check that a page exists."""
    places = [each.get("refuri", "") for each in document(path).findall(nodes.reference)]

    for place in places:
        if ":" in place:
            assert re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]+(/[\w./-]*)?(#[\w-]+)?", place)
