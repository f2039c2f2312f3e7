"""Every name that code reads is defined: the linter can't tell, as axes in jaxtyping's annotations look like names."""

import builtins
import symtable
from pathlib import Path

import pytest

CODE = Path(__file__).parents[1]
KNOWN = {*dir(builtins), "__file__", "__name__"}


def undefined(source: str, name: str) -> list[str]:
    """Globals that some scope of a module reads and nothing in it defines."""
    top = symtable.symtable(source, name, "exec")
    scopes, read = [top], set()
    defined = {
        one.get_name() for one in top.get_symbols() if one.is_assigned() or one.is_imported() or one.is_namespace()
    }
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        mine = scope.get_symbols()
        defined |= {one.get_name() for one in mine if one.is_declared_global() and one.is_assigned()}
        read |= {
            one.get_name()
            for one in mine
            if one.is_referenced() and (scope is top or one.is_global() and not one.is_local())
        }
    return sorted(read - defined - KNOWN)


@pytest.mark.parametrize("folder", ["plantgfm", "tests"])
def test_every_name_is_defined(folder):
    paths = sorted((CODE / folder).rglob("*.py"))
    found = {str(path.relative_to(CODE)): undefined(path.read_text(encoding="utf-8"), path.name) for path in paths}
    assert {path: names for path, names in found.items() if names} == {}


SOURCE = """
import os
from x import y as z
CONST: int = 1
def f(a):
    b = a + CONST
    return [os, z, missing, b, len(a)]
class A:
    size = 1
    def top(self, c):
        return c + size + other
"""


def test_a_name_that_nothing_defines_is_seen():
    assert undefined(SOURCE, "f.py") == ["missing", "other", "size"]
