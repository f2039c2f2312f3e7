"""The code behind the pages, loaded from docs/, which is no package."""

import importlib.util
import sys

from tests.conftest import ROOT


def load(name: str):
    """A module of docs/ by its own name, as MkDocs loads it."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


tables = load("tables")
OF_SET, settings_class = tables.OF_SET, tables.settings_class
