"""A progress bar for commands that take long."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec


@contextmanager
def progress(
    total: Callable[[], int], *, verbosity: int, label: str
) -> Iterator[Callable[[int], object]]:
    """Show a bar on a terminal if tqdm is installed; otherwise nothing.

    Yield the function that is told how many more are done. ``total`` is only called for a bar.
    """
    if not (verbosity > 0 and sys.stderr.isatty() and find_spec("tqdm")):
        yield lambda count: None
        return
    from tqdm import tqdm  # the extra "progress"

    # Not self.stderr, which would end each of the bar's steps with a new line.
    with tqdm(total=total(), file=sys.stderr, leave=False, desc=label) as bar:
        yield bar.update
