"""The code blocks of the manual, so that tests run what is written there and not a copy of it.

``test_readme.py`` fails for a block that no ``recipe(title, position)`` in the tests asks for.
"""

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

from docutils import nodes
from docutils.core import publish_doctree

README = Path(__file__).parents[2] / "README.rst"

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
        exec(compile(code, f"{README.name}: {self}", "exec"), names)
        return names

    def __str__(self) -> str:
        return f"{self.title}, {self.position}"


@cache
def document(path: Path = README) -> nodes.document:
    """Return the manual, or another page, parsed. Raises an error for any mistake in it."""
    return publish_doctree(
        path.read_text(encoding="utf-8"),
        source_path=str(path),
        # Needs Pygments, and only changes colours.
        settings_overrides={"report_level": 1, "halt_level": 1, "syntax_highlight": "none"},
    )


def section(title: str, path: Path = README) -> nodes.section:
    """Return the section of a page that has this title."""
    (found,) = (each for each in document(path).findall(nodes.section) if each[0].astext() == title)
    return found


@cache
def recipes() -> dict[tuple[str, int], Recipe]:
    """Return all blocks, by title and position. A block that is not code has no language."""
    found: dict[tuple[str, int], Recipe] = {}
    for block in document().findall(nodes.FixedTextElement):
        around = block
        while not isinstance(around, nodes.section):
            around = around.parent
        title = around[0].astext()
        position = sum(1 for each, _ in found if each == title)
        language = " ".join(each for each in block["classes"] if each != "code")
        found[title, position] = Recipe(title, position, language, f"{block.astext()}\n")
    return found


def recipe(title: str, position: int = 0) -> Recipe:
    """Return the block of a section, counted from 0."""
    return recipes()[title, position]
