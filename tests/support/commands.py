"""Running ``manage.py`` as an operator does."""

from django.core.management import execute_from_command_line


def exit_code(*arguments: str) -> int:
    """Return the exit code that the operating system would see."""
    try:
        execute_from_command_line(["manage.py", *arguments])
    except SystemExit as exit_:
        return exit_.code
    return 0
