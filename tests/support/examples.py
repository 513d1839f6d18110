"""How many examples Hypothesis tries in a test, and which.

They are the same in each run, so that what fails fails again, and nothing else does.
``EXAMPLES=20`` in the environment asks for twenty times as many, others in each run; what fails is
then printed with a line that repeats it.
"""

import os

from hypothesis import HealthCheck, Phase, settings

_TIMES = int(os.environ.get("EXAMPLES", "1"))


def examples(count: int, **options: object) -> settings:
    """Try ``count`` of them, however long each takes."""
    return settings(
        max_examples=count * _TIMES,
        derandomize=_TIMES == 1,
        print_blob=True,
        deadline=None,
        # To explain a failure takes longer than all the rest.
        phases=set(Phase) - {Phase.explain},
        # A fixture is made once for all examples: what they share is meant to be shared.
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        **options,
    )
