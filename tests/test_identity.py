"""Canonical JSON and fingerprints."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pytest

from plantgfm.identity import canonical_json, file_sha256, fingerprint, plain, read_json, restore


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
    steps: int = 1
    grid: list[float] = field(default_factory=list)


def test_restore_is_the_inverse_of_plain_for_settings():
    value = Outer(Settings(Colour.GREEN, "x/y", [1]), "n")
    assert restore(Outer, plain(value)) == value
    with pytest.raises(ValueError, match="'nmae', which Outer does not know"):
        restore(Outer, {"nmae": "n"})
    with pytest.raises(ValueError, match="'red'"):
        restore(Settings, {"colour": "red", "where": "", "sizes": []})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "settings of Outer are '\\[\\]', no names with values"),
        ({"inner": 3}, "'inner' are damaged: '3' is no Settings"),
        ({"name": None}, "'name' are damaged: 'None' is no str"),
        ({"grid": "abc"}, "'grid' are damaged: 'abc' is no list"),
        ({"steps": True}, "'steps' are damaged: 'True' is no int"),
    ],
)
def test_restore_checks_types(values, words):
    with pytest.raises(ValueError, match=words):
        restore(Outer, values)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no JSON .*line 1"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "4300 digits"),
        (b"\xff{}", "no UTF-8"),
        (b"[1]", "holds list where an object"),
        (b"null", "holds NoneType"),
    ],
)
def test_json_that_is_damaged_is_one_line_with_path_and_remedy(tmp_path, content, words):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.json .*{words}.*; do this$") as caught:
        read_json(tmp_path / "a.json", remedy="do this")
    assert "\n" not in str(caught.value)
    (tmp_path / "a.json").write_text('{"a": "é"}', encoding="utf-8")
    assert read_json(tmp_path / "a.json", remedy="") == {"a": "é"}


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
