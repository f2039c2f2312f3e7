"""Commands on wrong input: one clear line, exit status 2, nothing half-written."""

import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from plantgfm.cli import commands, main
from tests.fixtures import write_small_bundle


def run_main(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["plantgfm", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    captured = capsys.readouterr()
    return stop.value.code, captured.err


def wrong_inputs(folder):
    (folder / "text.fa").write_text("this is no FASTA\n")
    (folder / "empty.csv").write_text("")
    manifest = folder / "manifest.csv"
    manifest.write_text("species,cultivar,assembly,compartment,fasta\nZea mays,,a,nuclear,absent.fa\n")
    bundle = write_small_bundle(folder / "bundle")
    return {
        "no manifest": (("curate", folder / "absent.csv", "--out", folder / "o"), "absent.csv"),
        "empty manifest": (("curate", folder / "empty.csv", "--out", folder / "o"), "empty"),
        "manifest names a missing file": (("curate", manifest, "--out", folder / "o"), "absent.fa"),
        "no run": (("evaluate", folder), "is no run folder"),
        "no run to export": (("export", folder, "--out", folder / "o"), "is no run folder"),
        "no run to report": (("report", folder), "is no run folder"),
        "no corpus": (("vocabulary", folder, "--out", folder / "o.json"), "is no corpus"),
        "unknown setting": (("simulate", "--out", folder / "o", "--set", "sped=1"), "sped"),
        "no key=value": (("simulate", "--out", folder / "o", "--set", "seed"), "no key=value"),
        "wrong value": (("simulate", "--out", folder / "o", "--set", "species=99"), "99"),
        "no bundle": (("embed", folder, "--fasta", folder / "text.fa", "--out", folder / "o"), "is no bundle"),
        "no FASTA": (("embed", bundle, "--fasta", folder / "text.fa", "--out", folder / "o"), "text.fa"),
        "a directory": (("embed", bundle, "--fasta", folder, "--out", folder / "o"), "directory"),
        "layer": (("embed", bundle, "--fasta", folder / "text.fa", "--out", folder / "o", "--layer", 9), "layer=9"),
        "both inputs": (
            ("embed", bundle, "--fasta", folder / "text.fa", "--manifest", manifest, "--out", folder / "o"),
            "either --fasta or --manifest",
        ),
        "no vectors": (
            ("retrieve", bundle, "--queries", folder / "text.fa", "--vectors", folder / "v", "--out", folder / "o"),
            "no readable Parquet",
        ),
        "no query": (("retrieve", bundle, "--vectors", folder / "v", "--out", folder / "o"), "give either --queries"),
        "unknown step": (("export", folder, "--out", folder / "o", "--step", "last"), "neither a number nor 'best'"),
    }


NAMES = (
    "no manifest", "empty manifest", "manifest names a missing file", "no run", "no run to export", "no run to report",
    "no corpus", "unknown setting", "no key=value", "wrong value", "no bundle", "no FASTA", "a directory", "layer",
    "both inputs", "no vectors", "no query", "unknown step",
)  # fmt: skip


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong")
    return folder, wrong_inputs(folder)


def test_the_table_is_complete(wrong):
    assert set(wrong[1]) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_input_is_one_clear_line(wrong, name, monkeypatch, capsys):
    folder, cases = wrong
    arguments, said = cases[name]
    before = {path.name for path in folder.iterdir()}
    monkeypatch.chdir(folder)
    code, error = run_main(monkeypatch, capsys, *arguments)
    assert code == 2
    assert said in error and "Traceback" not in error
    assert {path.name for path in folder.iterdir()} <= before | {"runs"}


def test_every_command_teaches_with_an_example():
    for name in commands.commands:
        text = CliRunner().invoke(commands, [name, "--help"]).output
        assert "Example: plantgfm" in text, name


def test_help_answers_at_once():
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import plantgfm.cli"], capture_output=True, text=True
    )
    assert done.returncode == 0
    for heavy in ("jax", "pysam", "tensorflow_datasets", "matplotlib", "numba", "pyarrow", "hydra"):
        assert f" {heavy}\n" not in done.stderr, heavy
    assert time.monotonic() - began < 60
