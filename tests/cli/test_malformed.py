"""Damaged files through the command line: one line that names the file, status 2, nothing half-written."""

import json
import sys

import pytest

from plantgfm.cli import main
from tests.formats.malformed import FASTA_CASES
from tests.sources.test_catalogue import ROW, write

MANIFEST = "species,cultivar,assembly,compartment,fasta\nZea mays,,a,nuclear,{}\n"
DAMAGED_JSON = {
    "empty": b"",
    "cut": b'{"kind": "plantgfm corpus", "ver',
    "list": b"[1, 2]",
    "no keys": b"{}",
    "nested": b"[" * 100_000,
    "long number": b'{"a": ' + b"9" * 5000 + b"}",
    "no UTF-8": b'{"a": "\xe9"}',
    "binary": bytes(range(256)),
}


def run(monkeypatch, capsys, folder, *arguments) -> str:
    """Standard error of a command that must fail on its input and leave the folder as it was."""
    before = sorted(path.relative_to(folder) for path in folder.rglob("*") if ".store" not in path.parts)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["plantgfm", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    said = capsys.readouterr().err
    assert stop.value.code == 2, said
    assert "Traceback" not in said and said.count("\n") == 1 and said.startswith("error: "), said
    left = sorted(path.relative_to(folder) for path in folder.rglob("*") if ".store" not in path.parts)
    assert [path for path in left if path not in before and path.name != "runs"] == []
    assert [path.name for path in folder.rglob("*.part")] == []
    return said


KINDS = (
    "empty", "plain text", "FASTQ", "FASTQ inside", "protein", "alignment", "digit", "space in the sequence",
    "header inside a line", "name twice", "header without a name", "record without sequence", "CR line ends",
    "CR after a header alone", "NUL bytes", "Latin-1 header", "byte-order mark", "UTF-16", "zip", "bzip2", "xz", "zstd",
    "empty gzip", "gzip twice", "gzip cut by one byte", "gzip with a flipped byte", "gzip with a tail of text",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_curate_names_a_malformed_genome(tmp_path, monkeypatch, capsys, kind):
    content, _, record, line = FASTA_CASES[kind]
    (tmp_path / "my [1], genome.fa.gz").write_bytes(content)
    (tmp_path / "m.csv").write_text(MANIFEST.format('"my [1], genome.fa.gz"'))
    said = run(monkeypatch, capsys, tmp_path, "curate", "m.csv", "--out", "out", "--store", ".store")
    assert "my [1], genome.fa.gz" in said
    assert (record or "") in said and (line is None or f"line {line}:" in said)


TABLES = {
    "empty": (b"", "is empty"),
    "no column": (b"species,cultivar\nZea mays,x\n", "'assembly' is missing"),
    "near miss": (MANIFEST.replace("assembly", "Assembly").encode(), "'assembly' is missing; found species"),
    "bars": (MANIFEST.replace(",", "|").encode(), "'species' is missing"),
    "ragged": (MANIFEST.format("a.fa,b").encode(), "line 2: 6 cells where the header has 5"),
    "Latin-1": (MANIFEST.format("caf\xe9.fa").encode("latin-1"), "line 2: byte 0xe9 is no UTF-8"),
    "open quote": (MANIFEST.format('"a.fa').encode(), "line 2: broken table"),
    "line break in a name": (MANIFEST.format('"a\nb.fa"').encode(), "a\\nb.fa' does not exist"),
    "long name": (MANIFEST.format("x" * 5000).encode(), "File name too long"),
    "folder": (MANIFEST.format(".").encode(), "is no file"),
    "twice": ((MANIFEST.format("a.fa") + "Zea mays,,a,nuclear,a.fa\n").encode(), "line 3: "),
    "no size": (b"species,cultivar,assembly,compartment,fasta,ploidy\nZea mays,,a,nuclear,a.fa,inf\n", "ploidy 'inf'"),
    "workbook": (b"PK\x03\x04xl/workbook.xml", "zip archive"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_curate_names_a_malformed_manifest(tmp_path, monkeypatch, capsys, kind):
    content, words = TABLES[kind]
    (tmp_path / "a.fa").write_text(">a\nACGT\n")
    (tmp_path / "m.csv").write_bytes(content)
    said = run(monkeypatch, capsys, tmp_path, "curate", "m.csv", "--out", "out", "--store", ".store")
    assert said.startswith("error: m.csv") and words in said


@pytest.mark.parametrize("kind", DAMAGED_JSON)
@pytest.mark.parametrize(
    ("command", "file"),
    [
        (("evaluate", "there"), "settings.json"),
        (("export", "there", "--out", "out"), "settings.json"),
        (("report", "there", "--out", "out.html"), "settings.json"),
        (("explain", "there", "chr1"), "settings.json"),
        (("explain", "there", "chr1"), "ledger.json"),
        (("vocabulary", "there", "--out", "out.json"), "corpus.json"),
        (("compare-corpora", "there", "there", "--out", "out.json"), "corpus.json"),
        (("embed", "there", "--fasta", "a.fa", "--out", "out"), "bundle.json"),
        (("simulate", "--out", "there"), "world.json"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_damaged_json_of_ours_is_named(tmp_path, monkeypatch, capsys, command, file, kind):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / file).write_bytes(DAMAGED_JSON[kind])
    assert "there" in run(monkeypatch, capsys, tmp_path, *command)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": 3}, "stored settings of 'model' are damaged: '3' is no ModelConfig"),
        ({"model": {"d_model": "wide"}}, "stored settings of 'd_model' are damaged: 'wide' is no int"),
        ({"speed": 9}, "'speed', which Config does not know"),
    ],
)
def test_damaged_settings_of_a_run_are_named(tmp_path, monkeypatch, capsys, change, words):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "settings.json").write_text(json.dumps({"config": change, "corpus": "c"}))
    said = run(monkeypatch, capsys, tmp_path, "evaluate", "there")
    assert "settings.json" in said and words in said


def test_fetch_names_the_line_of_its_catalogue(tmp_path, monkeypatch, capsys):
    write(tmp_path / "c.tsv", ROW, {**ROW, "name": "b", "url": "https://example.org/{accession:>9}.gz"})
    said = run(monkeypatch, capsys, tmp_path, "fetch", "rice", "--catalogue", "c.tsv", "--out", "out")
    assert said.startswith("error: c.tsv, record b, line 3: url")


def test_a_tilde_is_home_also_where_the_shell_leaves_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    said = run(monkeypatch, capsys, tmp_path, "curate", "~/none.csv", "--out=~/out")
    assert f"error: {tmp_path}/none.csv: does not exist" in said
    assert "~nobody_/none.csv: does not exist" in run(
        monkeypatch, capsys, tmp_path, "curate", "~nobody_/none.csv", "--out=o"
    )
