"""Commands on wrong input: one clear line, exit status 2, nothing half-written."""

import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from plantgfm.cli import commands, main
from plantgfm.curation.ledger import Ledger
from plantgfm.export.bundle import load_bundle
from plantgfm.schema import Decision, Outcome
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
    (folder / "empty.fa").write_text("")
    (folder / "n.fa").write_text(">a\n" + "N" * 900 + "\n")
    (folder / "protein.fa").write_text(">a\n" + "MKLVINGKTLKG" * 9 + "\n")
    (folder / "fine.fa").write_text(">a\n" + "ACGTTGCA" * 99 + "\n")
    manifest = folder / "manifest.csv"
    manifest.write_text("species,cultivar,assembly,compartment,fasta\nZea mays,,a,nuclear,absent.fa\n")
    found = folder / "found.csv"
    found.write_text("species,cultivar,assembly,compartment,fasta\nZea mays,,a,nuclear,text.fa\n")
    bundle = write_small_bundle(folder / "bundle")
    spoilt = {}
    for name, file in (("weights", "model.safetensors"), ("fingerprint", "bundle.json")):
        spoilt[name] = shutil.copytree(bundle, folder / f"spoilt {name}")
        content = (spoilt[name] / file).read_bytes()
        (spoilt[name] / file).write_bytes(content[:-20] + b"0" * 18 + content[-2:])
    for name, text in (("damaged", "{"), ("fine", "")):
        decisions = [Decision("a", "Testus unus", "chr1", 9, Outcome.KEPT, "accepted", "accepted", "passed")]
        Ledger(decisions, 1, 9).write(folder / name)
        if text:
            (folder / name / "ledger.json").write_text(text)
    return {
        "no manifest": (("curate", folder / "absent.csv", "--out", folder / "o"), "absent.csv"),
        "empty manifest": (("curate", folder / "empty.csv", "--out", folder / "o"), "empty"),
        "manifest names a missing file": (("curate", manifest, "--out", folder / "o"), "absent.fa"),
        "no share": (("curate", manifest, "--part", "3/2"), "--part '3/2' is no share"),
        "neither folder nor share": (("curate", manifest), "give either --out"),
        "folder and share": (("curate", manifest, "--out", folder / "o", "--part", "1/2"), "give either --out"),
        "out is a file": (("curate", manifest, "--out", manifest), "is a file: name a folder"),
        "no worker": (("curate", manifest, "--out", folder / "o", "--workers", "0"), "must be at least 1"),
        "a cluster of none": (
            ("curate", manifest, "--out", folder / "o", "--cluster", "slurm"),
            "needs the executor dask",
        ),
        "no passport": (
            ("curate", found, "--out", folder / "o", "--passport", folder / "p.tsv"),
            "p.tsv: does not exist",
        ),
        "no passport for a share": (
            ("curate", found, "--part", "1/1", "--passport", folder / "p.tsv"),
            "p.tsv: does not exist",
        ),
        "no run": (("evaluate", folder), "is no run folder"),
        "no run to export": (("export", folder, "--out", folder / "o"), "is no run folder"),
        "a step of a bundle": (
            ("export", bundle, "--format", "huggingface", "--step", 3, "--out", folder / "o"),
            "is a bundle, which has one step",
        ),
        "no model to import": (("import", folder, "--out", folder / "o"), "config.json is missing"),
        "no run to report": (("report", folder), "is no run folder"),
        "no corpus": (("vocabulary", folder, "--out", folder / "o.json"), "is no corpus"),
        "nothing to explain": (("explain", folder / "absent", "chr1"), "absent is no folder"),
        "no run to explain": (("explain", folder, "chr1"), "holds none of these files"),
        "damaged ledger": (("explain", folder / "damaged", "chr1"), "curate again"),
        "unknown record": (("explain", folder / "fine", "chr2"), "the nearest are chr1"),
        "unknown assembly": (("explain", folder / "fine", "chr1", "--assembly", "b"), "it lies in a"),
        "no corpus to explain with": (("explain", folder / "fine", "chr1", "--corpus", folder), "is no corpus"),
        "nothing to compare": (("compare-corpora", folder / "absent", folder, "--out", folder / "o"), "absent is no"),
        "no corpora to compare": (("compare-corpora", folder, folder, "--out", folder / "o"), "holds none of these"),
        "a ledger to compare": (("compare-corpora", folder / "fine", folder / "fine"), "has no corpus at hand"),
        "unknown setting": (("simulate", "--out", folder / "o", "--set", "sped=1"), "sped"),
        "no key=value": (("simulate", "--out", folder / "o", "--set", "seed"), "no key=value"),
        "negative seed": (("simulate", "--out", folder / "o", "--seed", "-1"), "-1 is not in the range"),
        "no resamples": (
            ("retrieve", bundle, "--vectors", folder / "v", "--out", folder / "o", "--set", "resamples=0"),
            "retrieval.resamples=0",
        ),
        "wrong value": (("simulate", "--out", folder / "o", "--set", "species=99"), "99"),
        "no bundle": (("embed", folder, "--fasta", folder / "text.fa", "--out", folder / "o"), "is no bundle"),
        "no FASTA": (("embed", bundle, "--fasta", folder / "text.fa", "--out", folder / "o"), "text.fa"),
        "a directory": (("embed", bundle, "--fasta", folder, "--out", folder / "o"), "directory"),
        "layer": (("embed", bundle, "--fasta", folder / "text.fa", "--out", folder / "o", "--layer", 9), "layer=9"),
        "both inputs": (
            ("embed", bundle, "--fasta", folder / "text.fa", "--manifest", manifest, "--out", folder / "o"),
            "either --fasta or --manifest",
        ),
        "empty FASTA": (("embed", bundle, "--fasta", folder / "empty.fa", "--out", folder / "o"), "empty.fa: is empty"),
        "all N": (("embed", bundle, "--fasta", folder / "n.fa", "--out", folder / "o"), "no window was left to embed"),
        "protein": (("embed", bundle, "--fasta", folder / "protein.fa", "--out", folder / "o"), "looks like protein"),
        "unknown pooling": (
            ("embed", bundle, "--fasta", folder / "fine.fa", "--out", folder / "o", "--pooling", "median"),
            "'median' is not one of 'mean', 'cls', 'max', 'token', 'base'",
        ),
        "tokens of both strands": (
            (
                "embed",
                bundle,
                "--fasta",
                folder / "fine.fa",
                "--out",
                folder / "o",
                "--pooling",
                "token",
                "--strand",
                "both",
            ),
            "pooling=token has no mean of both strands",
        ),
        "damaged weights": (
            ("embed", spoilt["weights"], "--fasta", folder / "fine.fa", "--out", folder / "o"),
            "model.safetensors is not the file that was exported",
        ),
        "wrong fingerprint": (
            ("embed", spoilt["fingerprint"], "--fasta", folder / "fine.fa", "--out", folder / "o"),
            "is damaged",
        ),
        "no variants": (
            ("score-variants", bundle, "--vcf", folder / "text.fa", "--fasta", folder / "fine.fa", "--out", "o.vcf"),
            "text.fa, line 1: a variant before the header #CHROM",
        ),
        "no vectors": (
            ("retrieve", bundle, "--queries", folder / "text.fa", "--vectors", folder / "v", "--out", folder / "o"),
            "no readable Parquet",
        ),
        "no query": (("retrieve", bundle, "--vectors", folder / "v", "--out", folder / "o"), "give either --queries"),
        "no experiment": (("ablate", "absent", "--experiments", folder, "--folder", folder / "o"), "is no experiment"),
        "experiment run and not run": (("ablate", "tokenizer", "--dry-run", "--report"), "exclude each other"),
        "report of other settings": (("ablate", "tokenizer", "--report", "run.steps=3"), "leave the overrides out"),
        "unknown step": (("export", folder, "--out", folder / "o", "--step", "last"), "neither a number nor 'best'"),
    }


NAMES = (
    "no manifest", "empty manifest", "manifest names a missing file", "no run", "no run to export", "no run to report",
    "no corpus", "unknown setting", "no key=value", "wrong value", "no bundle", "no FASTA", "a directory", "layer",
    "both inputs", "empty FASTA", "all N", "protein", "unknown pooling", "tokens of both strands", "damaged weights",
    "wrong fingerprint", "no variants",
    "no vectors", "no query", "unknown step", "nothing to explain", "no run to explain",
    "damaged ledger", "unknown record", "unknown assembly", "no corpus to explain with", "nothing to compare",
    "no corpora to compare", "a ledger to compare", "negative seed", "no resamples",
    "no share", "neither folder nor share", "folder and share",
    "a step of a bundle", "no model to import",
    "no experiment", "experiment run and not run", "report of other settings",
    "out is a file", "no worker", "a cluster of none", "no passport", "no passport for a share",
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


def test_a_bundle_goes_to_hugging_face_and_comes_back_the_same(tmp_path):
    before = load_bundle(write_small_bundle(tmp_path / "bundle")).fingerprint
    for arguments in (
        ("export", tmp_path / "bundle", "--format", "huggingface", "--out", tmp_path / "there"),
        ("import", tmp_path / "there", "--out", tmp_path / "again"),
    ):
        result = CliRunner().invoke(commands, [*map(str, arguments)])
        assert result.exit_code == 0, result.output
        assert "untrained" not in result.output
    assert load_bundle(tmp_path / "again").fingerprint == before
    for name in ("plantgfm.json", "next_region.safetensors"):
        (tmp_path / "there" / name).unlink()
    result = CliRunner().invoke(commands, ["import", str(tmp_path / "there"), "--out", str(tmp_path / "lean")])
    assert "untrained: next_region." in result.output


def test_every_command_teaches_with_an_example():
    for name in commands.commands:
        text = CliRunner().invoke(commands, [name, "--help"]).output
        assert "Example: plantgfm" in text, name


HEAVY = {
    "datasketch",
    "flax",
    "hydra",
    "jax",
    "matplotlib",
    "numba",
    "numpy",
    "pyarrow",
    "scipy",
    "tensorflow_datasets",
}


def test_no_help_imports_anything_heavy():
    """Each of these takes a good part of a second to import: help that needs none of them answers at once."""
    helps = (
        "for name in [None, *c.commands.commands]: c.commands([*[name] * bool(name), '--help'], standalone_mode=False)"
    )
    code = f"import sys, plantgfm.cli as c\n{helps}\nprint('loaded:', *{HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: ") == 1 + len(commands.commands)
    assert done.stdout.splitlines()[-1] == "loaded:"
