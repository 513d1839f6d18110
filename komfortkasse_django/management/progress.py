"""A progress bar for commands that take long."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress(
    total: Callable[[], int], *, verbosity: int, label: str
) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal where tqdm is installed; nothing otherwise.

    Yield the function that is told how many more are done. ``total`` is only called for a bar.
    """
    tqdm = _tqdm() if verbosity > 0 and sys.stderr.isatty() else None
    if tqdm is None:
        yield lambda count: None
        return
    # Not self.stderr, which would end each of the bar's steps with a new line.
    with tqdm(total=total(), file=sys.stderr, leave=False, desc=label) as bar:
        yield bar.update


def _tqdm() -> Callable[..., Any] | None:
    try:
        from tqdm import tqdm  # the extra "progress"
    except ImportError:
        return None
    bar: Callable[..., Any] = tqdm
    return bar
