"""Canonical JSON and fingerprints."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest

from plantgfm.identity import canonical_json, file_sha256, fingerprint, plain, restore


class Colour(Enum):
    GREEN = "green"


@dataclass
class Settings:
    colour: Colour
    where: Path
    sizes: tuple[int, ...]


def test_canonical_json_does_not_depend_on_the_order_of_keys():
    assert canonical_json({"b": 1, "a": (1, 2)}) == '{"a":[1,2],"b":1}' == canonical_json({"a": [1, 2], "b": 1})


def test_dataclasses_enums_and_paths_are_reduced():
    value = Settings(Colour.GREEN, Path("x/y"), (1,))
    assert canonical_json(value) == '{"colour":"green","sizes":[1],"where":"x/y"}'


@dataclass
class Outer:
    inner: Settings
    name: str = ""


def test_restore_is_the_inverse_of_plain_for_settings():
    value = Outer(Settings(Colour.GREEN, "x/y", [1]), "n")
    assert restore(Outer, plain(value)) == value
    with pytest.raises(ValueError, match="'nmae', which Outer does not know"):
        restore(Outer, {"nmae": "n"})
    with pytest.raises(ValueError, match="'red'"):
        restore(Settings, {"colour": "red", "where": "", "sizes": []})


def test_fingerprint_is_stable_over_versions():
    assert fingerprint({"a": 1}) == "015abd7f5cc57a2d"


def test_a_type_without_a_canonical_form_is_refused():
    with pytest.raises(TypeError, match="object has no canonical form"):
        canonical_json({"a": object()})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


def test_file_sha256_of_known_content(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert file_sha256(path).startswith("ba7816bf8f01cfea")
