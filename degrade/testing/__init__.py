"""Tests for operators of one's own: the contract that all operators keep, and frames to try them on.

    from degrade.testing import check_operator

    def test_fog() -> None:
        check_operator(Fog)

`check_operator` tries the class's own ``examples``; each promise is a function of `degrade.testing.promises`. Property
tests find strategies of hypothesis in `keys` and `paths`; ``pip install 'degrade[testing]'`` brings it, and pytest.
"""

from degrade.testing.addresses import keys, paths
from degrade.testing.contract import all_examples, check_operator, examples_of
from degrade.testing.frames import frame, mixed_sensors, photo

__all__ = ["all_examples", "check_operator", "examples_of", "frame", "keys", "mixed_sensors", "paths", "photo"]
