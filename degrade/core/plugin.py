"""Plug-ins of one file: operators that lie in no package. The command line or the environment names it, never a recipe.

The module that a file becomes travels whole to worker processes, which need not see the file.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from degrade.core.errors import RecipeError

VARIABLE: Final = "DEGRADE_PLUGINS"  #: names the files, `os.pathsep` between them
LOADED: Final[dict[Path, ModuleType]] = {}  #: by the file's whole path


def plugin_files() -> list[Path]:
    """The files that the environment names, each once."""
    listed = os.environ.get(VARIABLE, "").split(os.pathsep)
    return list(dict.fromkeys(Path(os.path.abspath(name.strip())) for name in listed if name.strip()))


def add_plugins(files: Iterable[Path]) -> None:
    """Adds files to those that the environment names, here and in processes that are started from here."""
    paths = dict.fromkeys([*plugin_files(), *(Path(os.path.abspath(file)) for file in files)])
    os.environ[VARIABLE] = os.pathsep.join(map(str, paths))


def load_plugin(file: Path, operators: dict[str, type[Any]]) -> None:
    """Runs a file, once; what it registers is found among ``operators`` then.

    Raises:
        RecipeError: if there is no such file, it cannot be run or registers nothing; names file, line and error.
    """
    if file in LOADED:
        return
    if not file.is_file():
        raise RecipeError(f"plug-in {file} is {'a folder' if file.is_dir() else 'not there'}: name a file of Python")
    before = dict(operators)
    try:
        module = _imported(file)
        if not any(_brings(module, kind) for kind in operators.values()):
            raise RecipeError(f"plug-in {file} registers no operator: above its class stands @register(...)")
    except RecipeError:
        for name in operators.keys() - before.keys():
            del operators[name]
        raise
    LOADED[file] = module


def _brings(module: ModuleType, kind: type[Any]) -> bool:
    """Whether an operator is a file's own, or another package's that it imports; degrade's are there without it."""
    if kind.__module__ == module.__name__:
        return True
    return not kind.__module__.startswith("degrade.") and any(kind is value for value in vars(module).values())


def _imported(file: Path) -> ModuleType:
    import cloudpickle

    known = (module for module in list(sys.modules.values()) if getattr(module, "__file__", None) == str(file))
    module = next(known, None) or _run(file)
    cloudpickle.register_pickle_by_value(module)
    return module


def _run(file: Path) -> ModuleType:
    name = f"plugin_{file.stem}"
    while name in sys.modules:  # of another folder's file
        name += "_"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise RecipeError(f"plug-in {file} is no file of Python: its name ends in .py")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as wrong:
        del sys.modules[name]
        raise RecipeError(f"plug-in {file} cannot be imported: {_told(wrong, file)}") from wrong
    return module


def _told(wrong: BaseException, file: Path) -> str:
    """The error, and its line in the file."""
    frames = traceback.extract_tb(wrong.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    said = " ".join(str(wrong).split())
    if isinstance(wrong, SyntaxError) and wrong.filename == str(file):
        lines, said = [wrong.lineno], wrong.msg
    where = f"line {lines[-1]}: " if lines else ""
    return f"{where}{type(wrong).__name__}: {said}"
