"""Every block of the pages is run, or held against the commands, settings and files that there are."""

import re

import pytest

from tests.conftest import ROOT
from tests.docs.snippets import PAGES, Snippet, commands_in, parse, perform, says, shown_in, snippets

NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
BLOCKS = [one for page in PAGES for one in snippets(page)]
RUN = sorted({one.page for one in BLOCKS if one.how == "run" and one.page != "README.md"})


def block(text, language="bash", how="parse"):
    return Snippet("page.md", 1, language, text, how)


@pytest.mark.parametrize("name", NAMES)
def test_the_blocks_of_a_page_name_what_there_is(name):
    for one in snippets(ROOT / name):
        if one.language != "console":
            parse(one)


@pytest.mark.parametrize("name", RUN)
def test_the_blocks_of_a_page_run(name, desk):
    names = {}
    for one in snippets(ROOT / name):
        if one.how == "run":
            perform(one, names)


WRONG = {
    "plantgfm embde b --out v": "no command 'embde'",
    "plantgfm embed b --fasta g.fa --oot v": "No such option '--oot'",
    "plantgfm embed b --fasta g.fa": "Missing option '--out'",
    "plantgfm embed b --fasta g.fa --out v --pooling median": "'median' is not one of",
    "plantgfm embed b --fasta g.fa --out v --set windw_bp=3": "'windw_bp' not in 'EmbeddingConfig'",
    "plantgfm simulate --out w --set decoy=2": "Key 'decoy'",
    "plantgfm bench train --sise tiny": "unrecognized arguments: --sise",
    "plantgfm ablate weather --dry-run": "no question weather",
    "python train.py sampler.windw_tokens=8": "windw_tokens",
    "python train.py model=huge": "'model/huge'",
    "python train.py sampler.min_species=99": "min_species=99",
    "python -m plantgfm.bench weather": r"no bench \['weather'\]",
    "make coffee": "there are",
    "pip install 'plantgfm[gpu]'": "no extra gpu",
    "sbatch configs/run/absent.sbatch": "no file in",
    "sbatch configs/run/train.sbatch corpus.pth=a": "corpus.pth",
    "rm -rf site": "what is",
    "plantgfm runs && plantgfm runz": "no command 'runz'",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_command_that_there_is_not_is_found(text):
    with pytest.raises(AssertionError) as found:
        parse(block(text + "\n"))
    assert re.search(WRONG[text], str(found.value)), found.value


def test_python_that_imports_what_there_is_not_is_found():
    with pytest.raises(AssertionError, match="import lode"):
        parse(block("from plantgfm import lode\n", "python"))


def test_a_command_that_fails_or_says_something_else_is_found(desk):
    shown = "$ plantgfm runs nowhere\nerror: nowhere is {}: name the one that holds the runs\n"
    perform(block(shown.format("no folder"), "console", "run"), {})
    perform(block(shown.format("…"), "console", "run"), {})
    with pytest.raises(AssertionError, match="does not say"):
        perform(block(shown.format("a folder"), "console", "run"), {})
    with pytest.raises(AssertionError, match="ended with 2"):
        perform(block("plantgfm runs nowhere\n", how="run"), {})
    with pytest.raises(AssertionError, match=r"mark the block with \.parse"):
        perform(block("python train.py\n", how="run"), {})
    with pytest.raises(AssertionError):
        perform(block("assert 1 == 2\n", "python", "run"), {})


def test_words_are_read_as_a_shell_reads_them():
    text = "A=1 plantgfm runs 'a b' \\\n  --x  # why\n.venv/bin/plantgfm one && make two\n\n"
    assert list(commands_in(text)) == [["plantgfm", "runs", "a b", "--x"], ["plantgfm", "one"], ["make", "two"]]
    assert list(shown_in("$ a b\nsaid\n\n$ c\n")) == [(["a", "b"], ["said"]), (["c"], [])]
    assert says("one\n two 2\nthree\n", ["one", "two …"]) and not says("one\ntwo\n", ["two", "one"])


def test_a_block_that_is_neither_run_nor_parsed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.docs.snippets.ROOT", tmp_path)
    for fence, said in (("bash { .sparse }", "a block says"), ("bash { .parse .trained }", "a block says")):
        (tmp_path / "a.md").write_text(f"# A\n\n```{fence}\nplantgfm runs\n```\n")
        with pytest.raises(AssertionError, match=f"a.md:3: {said}"):
            snippets(tmp_path / "a.md")
    (tmp_path / "a.md").write_text("```text\nx\n```\n\n```bash\nplantgfm runs\n```\n")
    assert [(one.line, one.language, one.how) for one in snippets(tmp_path / "a.md")] == [(5, "bash", "run")]
