"""The fenced blocks of the pages, checked against the real commands, and run.

A block says behind its language what is done with it: nothing, and it is run in the reader's folder (`reader.py`);
`{ .parse }`, and it is held against the options, settings and files that there are, as it would train, download or
need a cluster; `{ .trained }`, and it is run beside the run that the end-to-end tests share. Blocks of the language
`console` show a command behind `$` and what it says, in which `…` stands for anything.
"""

from __future__ import annotations

import ast
import configparser
import contextlib
import importlib.util
import io
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from plantgfm.config import COMPOSITION_ERRORS
from tests.conftest import ROOT, composed
from tests.docs.tables import OF_SET, settings_class, tables

LANGUAGES = ("bash", "console", "python")
CLASSES = ("parse", "trained")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```(\w*)(?: *\{([^}\n]*)\})? *\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SIGN = re.compile(r"[A-Z_]+=")
_ENDS_BADLY = ("error:", "Error:")
_FREE = {("source", ".venv/bin/activate"), ("tensorboard", "--logdir")}


@dataclass(frozen=True)
class Snippet:
    """One fenced block."""

    page: str
    line: int
    language: str
    text: str
    how: str  # "run", or one of CLASSES

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def snippets(page: Path) -> list[Snippet]:
    """The blocks of a page that are commands or code."""
    text, name = page.read_text(), page.relative_to(ROOT).as_posix()
    found = []
    for fence in _FENCE.finditer(text):
        language, said = fence[1], [word.removeprefix(".") for word in (fence[2] or "").split()]
        line = text.count("\n", 0, fence.start()) + 1
        unknown = [word for word in said if word not in CLASSES]
        assert not unknown and len(said) < 2, f"{name}:{line}: a block says {said}, there are {CLASSES}"
        if language in LANGUAGES:
            how = said[0] if said else "parse" if name == "README.md" and language == "bash" else "run"
            found.append(Snippet(name, line, language, fence[3], how))
        else:
            assert not said, f"{name}:{line}: {language or 'a block without language'} is neither run nor parsed"
    return found


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of each command of a block."""
    for line in text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word != "&&":
                words.append(word)
            elif words:
                while _SIGN.match(words[0]):  # variables that are set for it
                    words = words[1:]
                yield [words[0].removeprefix(".venv/bin/"), *words[1:]]
                words = []


def shown_in(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """The commands of a console block, each with the lines that it says."""
    for part in re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
        first, *said = part.splitlines()
        (words,) = commands_in(first)
        yield words, [line.strip() for line in said if line.strip()]


def check(words: list[str]) -> None:
    """Hold a command against what there is.

    Raises:
        AssertionError, ValueError, click.ClickException: for an option, setting or file that there is not.
    """
    program, rest = words[0], words[1:]
    if program == "plantgfm":
        return _check_plantgfm(rest)
    if words[:2] == ["python", "train.py"]:
        return _check_overrides(rest[1:])
    if words[:2] == ["python", "-m"]:
        return _check_module(words[2], words[3:])
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert len(rest) == 1 and rest[0] in targets, f"make {rest}: there are {targets}"
    elif words[:2] == ["pip", "install"]:
        _check_extras(rest[1:])
    elif program in ("sbatch", "kubectl"):
        _check_launch(rest)
    else:
        assert tuple(words[:2]) in _FREE, f"what is {words}?"


def _check_plantgfm(words: list[str]) -> None:
    if words in (["--help"], ["--version"]):
        return
    name = " ".join(words[:2]) if words[0] == "bench" else words[0]
    rest = words[len(name.split()) :]
    if rest == ["--help"]:
        assert name in tables.leaf_commands(), f"no command {name}"
    elif name in tables.BENCHES:
        importlib.import_module(tables.BENCHES[name]).parse(rest)
    else:
        known = tables.leaf_commands()
        assert name in known, f"no command {name!r}"
        found = known[name].make_context(f"plantgfm {name}", rest)
        if name == "ablate":
            assert (ROOT / "experiments" / found.params["question"]).is_dir(), f"no question {found.params['question']}"
        if name in ("ablate", "scaling"):
            _check_overrides(found.params["overrides"])
        for change in found.params.get("overrides", ()) if name in OF_SET else ():
            _check_set(name, change)


def _check_set(name: str, change: str) -> None:
    from plantgfm.config import settings

    wrong = []
    for kind in OF_SET[name]:
        try:
            settings(settings_class(kind), [change])
            return
        except ValueError as error:
            wrong.append(error)
    raise wrong[0]


def _check_overrides(words: Sequence[str]) -> None:
    """Hydra has them all, and the checks of the settings let them pass."""
    if overrides := tuple(word for word in words if word not in ("--help", "--cfg", "job")):
        _composed(overrides)


_composed = cache(lambda overrides: composed(*overrides))


def _check_module(name: str, rest: list[str]) -> None:
    assert importlib.util.find_spec(name), f"no module {name}"
    if name == "plantgfm.bench":
        from plantgfm.bench.__main__ import _PARTS

        assert set(rest) <= set(_PARTS), f"no bench {rest}"


def _check_extras(words: list[str]) -> None:
    stated = configparser.ConfigParser()
    stated.read(ROOT / "setup.cfg")
    for word in words:
        for extra in re.findall(r"\[([\w,]+)\]", word):
            assert set(extra.split(",")) <= set(stated["options.extras_require"]), f"no extra {extra}"


def _check_launch(words: list[str]) -> None:
    files = [word for word in words if word.startswith("configs/")]
    assert len(files) == 1 and (ROOT / files[0]).is_file(), f"no file in {words}"
    after = words[words.index(files[0]) + 1 :]
    if files[0].endswith("train.sbatch"):
        _check_overrides(after)
    elif files[0].endswith("curate.sbatch"):
        _check_plantgfm(["curate", after[0], "--out", *after[1:]])


def run(words: list[str]) -> tuple[int, str]:
    """Run a `plantgfm` command in this process: its exit status and all that it says."""
    from plantgfm.cli import main

    assert words[0] == "plantgfm", f"{words} can't be run here: mark the block with .parse"
    told, before, status = io.StringIO(), sys.argv, 0
    sys.argv = words
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            main()
    except SystemExit as stop:
        status = int(stop.code or 0)
    finally:
        sys.argv = before
    return status, told.getvalue()


def perform(snippet: Snippet, names: dict) -> None:
    """Run a block in the folder that this process is in; `names` are what earlier Python blocks of the page left.

    Raises:
        AssertionError: where a command fails, or says something else than the page.
    """
    if snippet.language == "python":
        exec(compile(snippet.text, snippet.place, "exec"), names)
        return
    pairs = shown_in(snippet.text) if snippet.language == "console" else ((c, []) for c in commands_in(snippet.text))
    for words, said in pairs:
        status, told = run(words)
        wanted = 2 if any(line.startswith(_ENDS_BADLY) for line in said) else 0
        assert status == wanted, f"{snippet.place}: {shlex.join(words)} ended with {status}\n{told}"
        assert says(told, said), f"{snippet.place}: {shlex.join(words)} does not say {said}, but\n{told}"


def says(told: str, wanted: list[str]) -> bool:
    """Whether a text has some lines in their order; `…` stands for anything."""
    lines = iter(line.strip() for line in told.splitlines())
    patterns = [re.compile(".*".join(map(re.escape, line.split("…")))) for line in wanted]
    return all(any(pattern.fullmatch(line) for line in lines) for pattern in patterns)


def parse(snippet: Snippet) -> None:
    """Hold a block against what there is, without running it."""
    if snippet.language == "python":
        _check_imports(ast.parse(snippet.text))
        return
    pairs = commands_in(snippet.text) if snippet.language == "bash" else (words for words, _ in shown_in(snippet.text))
    for words in pairs:
        try:
            check(words)
        except (click.ClickException, AssertionError, *COMPOSITION_ERRORS) as error:
            message = error.format_message() if isinstance(error, click.ClickException) else error
            raise AssertionError(f"{snippet.place}: {shlex.join(words)}: {message}") from error


def _check_imports(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "plantgfm":
            module = importlib.import_module(node.module)
            assert all(hasattr(module, one.name) for one in node.names), ast.unparse(node)
