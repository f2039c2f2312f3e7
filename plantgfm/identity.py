"""Identity of things: canonical JSON and content fingerprints."""

from __future__ import annotations

import dataclasses
import enum
import gzip
import hashlib
import json
import typing
import zlib
from pathlib import Path
from typing import Any, TypeVar

Settings = TypeVar("Settings")

_CHUNK_BYTES = 1 << 20
_LEAVES = frozenset((str, int, float, bool, type(None)))  # most of what is written: asked for first


def plain(value: Any) -> Any:
    """Reduce dataclasses, enums, paths and sequences to what JSON knows.

    Raises:
        TypeError: for a type that has no canonical form.
    """
    if type(value) in _LEAVES:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [item if type(item) in _LEAVES else plain(item) for item in value]
    if isinstance(value, str | int | float):  # of a kind of their own
        return value
    raise TypeError(f"{type(value).__name__} has no canonical form: {value!r}")


def restore(kind: type[Settings], values: Any) -> Settings:
    """A dataclass from what `plain` made of one: nested dataclasses, enums by value, plain fields.

    Args:
        kind: the dataclass.
        values: as read from a file, so that it may be anything.

    Raises:
        ValueError: for values that are no dictionary, a field that the dataclass does not know, a value that its enum
            lacks, or one of another type.
    """
    if not isinstance(values, dict):
        raise ValueError(f"stored settings of {kind.__name__} are {str(values)[:40]!r}, no names with values")
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(values) - {field.name for field in dataclasses.fields(kind)})
    if unknown:
        raise ValueError(f"stored settings have {unknown[0]!r}, which {kind.__name__} does not know: other version?")
    return kind(**{name: _restored(name, hints[name], value) for name, value in values.items()})


_PLAIN = {int: int, float: (int, float), str: str, bool: bool, list: list}


def _restored(name: str, hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return restore(hint, value)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(value)
    kind = typing.get_origin(hint) or hint
    wanted = kind if dataclasses.is_dataclass(kind) else _PLAIN.get(kind, object)
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind in (int, float)):
        raise ValueError(f"stored settings of {name!r} are damaged: {str(value)[:40]!r} is no {kind.__name__}")
    return value


def parse_json(text: str) -> Any:
    """What JSON says; ValueError, in one line, for all that is none: also nesting or numbers beyond Python's limits."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is no JSON of ours: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"is no JSON ({str(error).split(';')[0]})") from error


def read_json(path: Path, *, remedy: str) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        path: UTF-8 text; gzipped where the name ends with .gz.
        remedy: what to do where the file is damaged; ends the message.

    Raises:
        ValueError: damaged gzip, no UTF-8, no JSON, or no object, with the path.
        OSError: when the file cannot be read.
    """
    try:
        stored = path.read_bytes()
        content = parse_json((gzip.decompress(stored) if path.suffix == ".gz" else stored).decode())
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise ValueError(f"{path} is no whole gzip file; {remedy}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 ({error.reason}); {remedy}") from None
    except ValueError as error:
        raise ValueError(f"{path} {error}; {remedy}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__} where an object should be; {remedy}")
    return content


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spare space: equal values give equal text."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()
