"""Sizes of the style sheet: functions, files, docstrings, weight of the tests."""

import ast
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [*sorted((ROOT / "plantgfm").rglob("*.py")), *sorted((ROOT / "data").rglob("*.py")), *ROOT.glob("train.py")]
LOOP = ("training/loop.py", "train")


def functions(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(node) -> int:
    return node.end_lineno - node.lineno + 1


def test_functions_are_short():
    sizes = {(str(p), f.name): lines_of(f) for p in SOURCES for f in functions(p)}
    limit = {key: 150 if key[0].endswith(LOOP[0]) and key[1] == LOOP[1] else 80 for key in sizes}
    assert not {key: size for key, size in sizes.items() if size > limit[key]}
    assert np.median(list(sizes.values())) <= 12
    assert np.mean([size <= 45 for size in sizes.values()]) >= 0.9


def test_files_are_short():
    sizes = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in SOURCES}
    assert not {name: size for name, size in sizes.items() if size > 500}
    assert np.mean([size <= 350 for size in sizes.values()]) >= 0.9
    assert sizes.get("train.py", 0) <= 60


def test_public_names_have_docstrings():
    public, missing = 0, []
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        owners = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
        for node in (child for owner in owners for child in owner.body):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                public += 1
                if ast.get_docstring(node) is None:
                    missing.append(f"{path.name}:{node.name}")
    assert len(missing) <= 0.05 * public, missing


def test_tests_weigh_at_least_six_tenths_of_the_code():
    code = sum(len(p.read_text().splitlines()) for p in SOURCES)
    tests = sum(len(p.read_text().splitlines()) for p in (ROOT / "tests").rglob("*.py"))
    assert tests >= 0.6 * code, f"{tests} lines of tests for {code} lines of code"


def test_no_handler_of_a_bare_exception():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                bare = node.type is None or (
                    isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}
                )
                cleans_up = isinstance(node.body[-1], ast.Raise)
                assert not bare or cleans_up, f"{path}:{node.lineno} swallows every exception"
