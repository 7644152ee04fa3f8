"""Bug: what goes wrong in another process and is no error of ours, with its traceback, as it travels here.

Dask would carry it, too, but three times over, for it tries again whatever is raised, and without its notes where the
class cannot be taken apart and put together.
"""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass


class Elsewhere(Exception):
    """The traceback of another process: the cause of what is raised here."""

    def __str__(self) -> str:
        return f"in another process\n\n{self.args[0]}"


@dataclass(frozen=True)
class Bug:
    """An exception on its way.

    >>> error = Bug.of(KeyError("blur")).error()
    >>> type(error).__name__, type(error.__cause__).__name__
    ('KeyError', 'Elsewhere')
    """

    said: str  #: class and message
    notes: tuple[str, ...]
    trace: str
    packed: bytes  #: the exception itself; empty if it cannot travel

    @classmethod
    def of(cls, bug: Exception) -> Bug:
        """An exception, ready to travel."""
        said = "".join(traceback.format_exception_only(type(bug), bug)).partition("\n")[0]
        trace = "".join(traceback.format_exception(bug)).rstrip()
        return cls(said, tuple(getattr(bug, "__notes__", ())), trace, _packed(bug))

    def error(self) -> Exception:
        """The exception, to be raised where it arrived; a RuntimeError that tells of it, if it could not travel."""
        error = _unpacked(self.packed) or RuntimeError(self.said)
        error.__notes__ = list(self.notes)
        error.__cause__ = Elsewhere(self.trace)
        return error


def _packed(bug: Exception) -> bytes:
    import cloudpickle

    try:
        packed = cloudpickle.dumps(bug)
    except Exception:  # noqa: BLE001  (a class of somebody else's may refuse in any way)
        return b""
    return packed if _unpacked(packed) else b""


def _unpacked(packed: bytes) -> Exception | None:
    try:
        error = pickle.loads(packed)
    except Exception:  # noqa: BLE001
        return None
    return error if isinstance(error, Exception) else None
