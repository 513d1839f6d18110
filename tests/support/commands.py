"""Running ``manage.py`` as an operator does."""

from django.core.management import execute_from_command_line


def exit_code(*arguments: str) -> int:
    """What the operating system would be told."""
    try:
        execute_from_command_line(["manage.py", *arguments])
    except SystemExit as exit_:
        return exit_.code
    return 0
