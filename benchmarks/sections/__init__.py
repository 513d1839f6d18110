"""One module for each table: its ``TITLE``, and ``measure``, which returns its cells by row."""

NAMES = (
    "deleting_many",
    "deleting_one",
    "saving",
    "draining",
    "many_workers",
    "slow_service",
    "outage",
    "memory",
    "reconciling",
    "large_mirror",
    "startup",
)
"""In the order in which they are measured."""
