"""Folders of one's own things that a recipe names: cameras, lenses."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def own(kind: str) -> Path:
    """The folder of one's own ``kind``: the environment's ``$DEGRADE_<KIND>``, else where the system keeps settings.

    It need not exist.

    >>> own("cameras").name
    'cameras'
    """
    if named := os.environ.get(f"DEGRADE_{kind.upper()}"):
        return Path(named)
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return base / "degrade" / kind
