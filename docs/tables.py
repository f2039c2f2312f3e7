"""Tables of the pages that are drawn from the code: options, settings, commands, Hydra groups.

A page asks for one with a line such as `<!-- table: options embed -->`; `expand` puts it there when the site is built,
so that no page can tell of an option that is gone. Imported by `hooks.py` and by the tests.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from enum import Enum
from io import StringIO
from pathlib import Path
from tokenize import COMMENT, generate_tokens
from typing import Any

import click

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "commands"
BENCHES = {"bench train": "plantgfm.bench.train", "bench hosts": "plantgfm.bench.hosts"}
"""Commands whose options are those of a module's `parse`, by argparse."""

SETTINGS = {
    "corpus": "plantgfm.config:InputConfig",
    "curation": "plantgfm.curation.config:CurationConfig",
    "tokenizer": "plantgfm.tokenization.config:VocabularyConfig",
    "sampler": "plantgfm.sampling.config:SamplerConfig",
    "model": "plantgfm.model.config:ModelConfig",
    "objective": "plantgfm.objectives.config:ObjectiveConfig",
    "optimizer": "plantgfm.training.config:OptimizerConfig",
    "mesh": "plantgfm.config:MeshConfig",
    "evaluation": "plantgfm.evaluation.config:EvaluationConfig",
    "run": "plantgfm.config:RunConfig",
    "world": "plantgfm.simulate.config:WorldConfig",
    "null": "plantgfm.simulate.config:NullConfig",
    "layout": "plantgfm.corpus.config:CorpusConfig",
    "embedding": "plantgfm.embedding.config:EmbeddingConfig",
    "retrieval": "plantgfm.retrieval.config:RetrievalConfig",
    "projection": "plantgfm.retrieval.config:ProjectionConfig",
    "fetch": "plantgfm.sources.config:FetchConfig",
    "probes": "plantgfm.ablation.config:ProbeConfig",
}
"""Dataclasses of settings by the name that pages call them."""

OF_SET = {
    "simulate": ("world", "null"),
    "curate": ("curation",),
    "vocabulary": ("tokenizer",),
    "evaluate": ("evaluation",),
    "embed": ("embedding",),
    "retrieve": ("retrieval",),
    "train-projection": ("projection",),
    "fetch": ("fetch",),
    "probe": ("probes",),
}
"""What `--set` of a command changes."""

APART = {"corpus": ("world", "null", "layout")}
"""Fields of settings that have a table of their own."""

_MARKER = re.compile(r"^<!-- table: (.+?) -->$", re.MULTILINE)


def expand(markdown: str) -> str:
    """The text of a page with its tables.

    Raises:
        ValueError: for a table that is none of ours.
    """
    return _MARKER.sub(lambda found: table(found[1]), markdown)


def table(asked: str) -> str:
    """The table that a marker asks for, as Markdown.

    Raises:
        ValueError: for one that is none of ours.
    """
    kind, _, name = asked.partition(" ")
    if kind == "options" and name:
        return options_table(name)
    if kind == "settings" and name in SETTINGS:
        return settings_table(name)
    if kind == "fields" and name:
        return fields_table(name)
    if asked == "commands":
        return commands_table()
    if asked == "groups":
        return groups_table()
    raise ValueError(f"no table {asked!r}: ask for options COMMAND, settings NAME, fields CLASS, commands, or groups")


def leaf_commands() -> dict[str, click.Command]:
    """Every command by its words, without the groups that only hold others."""
    from plantgfm.cli import commands

    return dict(_leaves(commands, ""))


def _leaves(group: click.Group, above: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _leaves(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


def page_of(name: str) -> Path:
    """The how-to of a command; those of a group share the group's."""
    return PAGES / f"{name.split()[0]}.md"


@dataclasses.dataclass(frozen=True)
class Option:
    """An option or argument of a command, as its help tells it."""

    names: tuple[str, ...]  # "--out"; the metavariable of an argument
    value: str  # what it takes; "" of a switch
    default: str
    help: str


def options_of(name: str) -> list[Option]:
    """The arguments and options of a command.

    Raises:
        ValueError: for a command that there is not.
    """
    if name in BENCHES:
        return [_of_action(action) for action in parser_of(name)._actions if action.dest != "help"]
    if name not in leaf_commands():
        raise ValueError(f"no command {name!r}: there are {', '.join(leaf_commands())}")
    command = leaf_commands()[name]
    return [_of_parameter(one, click.Context(command)) for one in command.params]


class _Caught(Exception):
    """Carries the parser out of `parse`."""


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of a bench, caught as it is about to read."""
    module, found = importlib.import_module(BENCHES[name]), []

    class Catching(module.Parser):
        def parse_args(self, *_):
            found.append(self)
            raise _Caught

    kept, module.Parser = module.Parser, Catching
    try:
        module.parse([])
    except _Caught:
        pass
    finally:
        module.Parser = kept
    return found[0]


def _of_action(action: argparse.Action) -> Option:
    value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    default = "" if action.default in (None, []) else str(action.default)
    return Option(tuple(action.option_strings), value, default, action.help or "")


def _of_parameter(one: click.Parameter, context: click.Context) -> Option:
    if isinstance(one, click.Argument):
        times = "one argument or more" if one.nargs == -1 and one.required else "any number" if one.nargs == -1 else ""
        default = "" if one.required or one.nargs == -1 else str(one.default)
        return Option((one.make_metavar(context),), times or "argument", default, "")
    record = one.get_help_record(context)
    text, extra = record[1] if record else "", ""
    if found := re.search(r"\s*\[([^\[\]]*)\]$", text):  # what click itself adds: default, range, required
        text, extra = text[: found.start()], found[1]
    default = "required" if one.required else next((x[9:] for x in extra.split("; ") if x.startswith("default: ")), "")
    value = "" if one.is_flag else _value(one, context)
    names = (*sorted(one.opts, key=len, reverse=True), *one.secondary_opts)
    return Option(names, value, default, text + (" May be repeated." if _silent_repeat(one, text) else ""))


def _silent_repeat(one: click.Option, text: str) -> bool:
    return one.multiple and "repeated" not in text and "several" not in text


def _value(one: click.Option, context: click.Context) -> str:
    if isinstance(one.type, click.Choice):
        return ", ".join(f"`{choice}`" for choice in one.type.choices)
    return f"{one.make_metavar(context).lower().strip('<>[]')}"


def options_table(name: str) -> str:
    """Arguments and options of a command."""
    rows = []
    for one in options_of(name):
        called = " ".join(f"`{text}`" for text in one.names)
        rows.append(
            (called, one.value, f"`{one.default}`" if one.default not in ("", "required") else one.default, one.help)
        )
    return _markdown(("option", "takes", "default", "what it does"), rows)


def commands_table() -> str:
    """Every command with the first sentence of its help, beside its page."""
    rows = [("[`python train.py`](train.md)", "Curate, build the vocabulary, train, evaluate.")]
    for name, command in leaf_commands().items():
        first = inspect.cleandoc(command.help or "").split("\n\n")[0].replace("\n", " ")
        rows.append((f"[`plantgfm {name}`]({page_of(name).name})", first))
    return _markdown(("command", "what it does"), rows)


def groups_table() -> str:
    """The groups of `train.py` and what each offers."""
    folders = sorted(path for path in (ROOT / "configs").iterdir() if path.is_dir())
    rows = []
    for folder in folders:
        offers = sorted(path.stem for path in folder.glob("*.yaml"))
        rows.append((f"`{folder.name}`", ", ".join(f"`{name}`" for name in offers)))
    return _markdown(("group", "`GROUP=` takes"), rows)


@dataclasses.dataclass(frozen=True)
class Setting:
    """A field of a dataclass of settings."""

    name: str  # dotted, below the room
    kind: str
    default: str
    comment: str  # what stands beside it in the code


def settings_class(name: str) -> type:
    """The dataclass of a name in `SETTINGS`."""
    module, _, kind = SETTINGS[name].partition(":")
    return getattr(importlib.import_module(module), kind)


def settings_of(kind: type, *, apart: tuple[str, ...] = (), above: str = "") -> Iterator[Setting]:
    """The fields of a dataclass of settings, those of nested ones by dotted names."""
    hints, comments = typing.get_type_hints(kind), _comments(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            if field.name not in apart:
                yield from settings_of(hint, above=f"{above}{field.name}.")
            continue
        default = field.default if field.default is not dataclasses.MISSING else field.default_factory()
        comment = comments.get(field.name) or _of_choices(hint)
        yield Setting(f"{above}{field.name}", _kind(hint), _shown(default), comment)


def _of_choices(hint: Any) -> str:
    """What an enumeration says of itself, where nothing stands beside the field."""
    if not (isinstance(hint, type) and issubclass(hint, Enum)):
        return ""
    source = textwrap.dedent(inspect.getsource(hint))
    beside, members = _beside(source), [node for node in ast.parse(source).body[0].body if isinstance(node, ast.Assign)]
    said = [f"`{node.targets[0].id}`: {beside[node.lineno]}" for node in members if node.lineno in beside]
    first = inspect.cleandoc(hint.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    return " ".join([first, "; ".join(said)]).strip()


def _beside(source: str) -> dict[int, str]:
    """The comments of a piece of code, by line."""
    tokens = generate_tokens(StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == COMMENT}


def _kind(hint: Any) -> str:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return ", ".join(f"`{name}`" for name in hint.__members__)
    if inner := typing.get_args(hint):
        return f"list of {_kind(inner[0])}s"
    return {str: "text", int: "whole number", float: "number", bool: "`true`, `false`"}[hint]


def _shown(value: Any) -> str:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value >= 10_000:
        return f"{value:_}"
    return "''" if value == "" else str(value)


def _comments(kind: type) -> dict[str, str]:
    """The comments beside the fields of a class and of those that it is made from."""
    found: dict[str, str] = {}
    for one in reversed([base for base in kind.__mro__ if dataclasses.is_dataclass(base)]):
        source = textwrap.dedent(inspect.getsource(one))
        beside = _beside(source)
        lines = source.splitlines()
        for node in ast.parse(source).body[0].body:
            if isinstance(node, ast.AnnAssign):
                first = node.lineno
                while first - 1 in beside and lines[first - 2].lstrip().startswith("#"):
                    first -= 1
                said = [beside[line] for line in range(first, node.end_lineno + 1) if line in beside]
                found[node.target.id] = " ".join(said)
    return found


def settings_table(name: str) -> str:
    """The settings of a room."""
    found = settings_of(settings_class(name), apart=APART.get(name, ()))
    rows = [(f"`{one.name}`", one.kind, f"`{one.default}`", one.comment) for one in found]
    return _markdown(("setting", "takes", "default", "what it is"), rows)


def fields_table(path: str) -> str:
    """The fields of a dataclass: name, type with its shape, and the comment that stands beside it."""
    module, _, name = path.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    comments = _comments(kind)
    rows = [(f"`{one.name}`", f"`{one.type}`", comments.get(one.name, "")) for one in dataclasses.fields(kind)]
    return _markdown(("field", "type", "what it is"), rows)


def _markdown(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("[CLS]", "\\[CLS\\]").replace("\n", " ")
