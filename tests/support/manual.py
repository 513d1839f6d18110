"""The manual, which is ``README.rst`` and the pages in ``docs``, and its code blocks.

So tests run what is written there and not a copy of it. ``tests/manual/test_reference.py`` fails
for a block that no ``recipe(title, position)`` in the tests asks for.

The pages are parsed by docutils alone, so the tests need no Sphinx. ``script/docs`` builds them
with Sphinx and checks all links.
"""

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import Directive, directives, roles

ROOT = Path(__file__).parents[2]
README = ROOT / "README.rst"
DOCS = sorted(path for path in (ROOT / "docs").rglob("*.rst") if "_build" not in path.parts)

_OPTIONS_OF_SPHINX = (
    "caption",
    "exclude-members",
    "hidden",
    "maxdepth",
    "members",
    "no-members",
    "no-value",
    "show-inheritance",
    "titlesonly",
    "undoc-members",
)
_FILE = re.compile(r"^# (\S+\.py)$\n", re.MULTILINE)
_GAP = re.compile(r"^( *)# \.\.\..*$", re.MULTILINE)


@dataclass(frozen=True)
class Recipe:
    """One code block. ``title`` is the title of its section, ``position`` its place there."""

    title: str
    position: int
    language: str
    code: str

    @property
    def lines(self) -> list[str]:
        """Its commands, with continued lines joined and without comments."""
        lines = self.code.replace("\\\n", "").splitlines()
        return [line.partition("  # ")[0].strip() for line in lines]

    @property
    def files(self) -> dict[str, str]:
        """Its parts by file name. A comment above each part names the file."""
        before, *parts = _FILE.split(self.code)
        assert parts, f"{self} names no file"
        assert not before, f"{self} has code before the first name of a file"
        return dict(zip(parts[::2], parts[1::2], strict=True))

    def with_apps(self, *apps: str) -> Self:
        """Replace the comment ``# ...`` between the apps by these apps."""
        lines = "\n".join(f'\\1"{app}",' for app in apps)
        code, count = _GAP.subn(lines, self.code)
        assert count == 1, f"{self} has {count} gaps"
        return replace(self, code=code)

    def without_backport(self) -> Self:
        """Leave out lines that only Django 5.2 needs."""
        return replace(self, code=re.sub(r".*# Django 5\.2 only\n", "", self.code))

    def run(self, names: dict[str, Any], file: str | None = None) -> dict[str, Any]:
        """Run its Python, or that of one of its files, in the namespace ``names``. Return that.

        With ``globals()`` it runs as if it were part of the calling module.
        """
        code = self.files[file] if file else self.code
        exec(compile(code, f"the manual: {self}", "exec"), names)
        return names

    def __str__(self) -> str:
        return f"{self.title}, {self.position}"


class _OfSphinx(Directive):
    """A directive of Sphinx: its content is not read."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec = dict.fromkeys(_OPTIONS_OF_SPHINX, directives.unchanged)

    def run(self) -> list[nodes.Node]:
        return []


for _name in ("toctree", "autoclass", "autodata", "autofunction", "automodule"):
    directives.register_directive(_name, _OfSphinx)


def _role_of_sphinx(
    role: str, source: str, text: str, *_: object
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Show the text of a link, or what it leads to if it has no text."""
    shown = re.sub(r"\s*<[^<>]+>$", "", text)
    return [nodes.inline(source, shown)], []


for _name in ("doc", "ref"):
    roles.register_local_role(_name, _role_of_sphinx)


@cache
def document(path: Path) -> nodes.document:
    """Return a page, parsed. Raises an error for any mistake in it."""
    return publish_doctree(
        path.read_text(encoding="utf-8"),
        source_path=str(path),
        # Needs Pygments, and only changes colours.
        settings_overrides={"report_level": 2, "halt_level": 2, "syntax_highlight": "none"},
    )


def section(title: str, path: Path) -> nodes.section:
    """Return the section of a page that has this title."""
    (found,) = (each for each in document(path).findall(nodes.section) if each[0].astext() == title)
    return found


def written(*pages: Path) -> str:
    """Return the source of pages, with single blanks only."""
    return " ".join(" ".join(page.read_text(encoding="utf-8") for page in pages).split())


@cache
def recipes() -> dict[tuple[str, int], Recipe]:
    """Return all blocks, by title and position. A block that is not code has no language.

    No two pages may have blocks under the same title. A block that a page includes from another
    file belongs to that file.
    """
    found: dict[tuple[str, int], Recipe] = {}
    for path in (README, *DOCS):
        here: dict[tuple[str, int], Recipe] = {}
        for block in document(path).findall(nodes.literal_block):
            if _source(block) != str(path):
                continue
            title = _title_above(block)
            position = sum(1 for each, _ in here if each == title)
            language = " ".join(each for each in block["classes"] if each != "code")
            here[title, position] = Recipe(title, position, language, f"{block.astext()}\n")
        assert not {title for title, _ in here} & {title for title, _ in found}, path
        found |= here
    return found


def _source(node: nodes.Element) -> str | None:
    """Return the file that a node comes from. Some nodes only have one in a node around them."""
    return node.source or (_source(node.parent) if node.parent else None)


def _title_above(node: nodes.Element) -> str:
    if isinstance(node, nodes.section | nodes.document):
        return node[0].astext()
    return _title_above(node.parent)


def recipe(title: str, position: int = 0) -> Recipe:
    """Return the block of a section, counted from 0."""
    return recipes()[title, position]
