"""Motifs in MEME's minimal format, and what is not that."""

import numpy as np
import pytest

from plantgfm.formats.errors import FormatError
from plantgfm.formats.meme import consensus_motif, read_meme

HEAD = "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies\nA 0.3 C 0.2 G 0.2 T 0.3\n\n"
MATRIX = "letter-probability matrix: alength= 4 w= 2 nsites= 19 E= 0\n 1.0 0.0 0.0 0.0\n 0.25 0.25 0.25 0.25\n"


def meme(folder, text):
    path = folder / "m.meme"
    path.write_text(text)
    return path


def test_probabilities_become_log_odds_over_the_background_of_the_file(tmp_path):
    one, two = read_meme(meme(tmp_path, f"{HEAD}MOTIF ARF5 auxin\n{MATRIX}URL x\n\nMOTIF b\n{MATRIX}"))
    assert (one.name, two.name) == ("ARF5", "b") and one.log_odds.shape == (2, 4)
    assert one.log_odds[0, 0] == pytest.approx(np.log2((19 + 0.3) / 20 / 0.3))
    assert one.log_odds[0, 1] == pytest.approx(np.log2(0.2 / 20 / 0.2))  # never minus infinity
    assert one.log_odds[1, 3] == pytest.approx(np.log2((0.25 * 19 + 0.3) / 20 / 0.3))


def test_a_file_without_background_or_sites_is_taken_as_meme_does(tmp_path):
    (one,) = read_meme(meme(tmp_path, f"MEME version 4\nMOTIF x\n{MATRIX.replace('nsites= 19', '')}"))
    assert one.log_odds[0, 0] == pytest.approx(np.log2((20 + 0.25) / 21 / 0.25))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("MEME version 4\n", "holds no letter-probability matrix"),
        (HEAD.replace("ACGT", "ACDEFGHIKLMNPQRSTVWY"), "motifs of DNA are needed"),
        (HEAD.replace("A 0.3", "A 0"), "background of 0"),
        (HEAD.replace("A 0.3 C", "A x C"), "no background of A, C, G and T"),
        (f"MOTIF x\n{MATRIX}".replace("1.0 0.0", "1.0 0.9"), "line 3: '1.0 0.9 0.0 0.0' is no row"),
        (f"MOTIF x\n{MATRIX}".replace("1.0 0.0", "1.0 nan"), "line 3: '1.0 nan 0.0 0.0' is no row"),
        (HEAD.replace("A 0.3 C", "A nan C"), "background of 0"),
        (f"MOTIF x\n{MATRIX}".replace("w= 2", ""), "does not tell the width"),
        (f"MOTIF x\n{MATRIX}".replace("w= 2", "w= 3"), "ends within motif x"),
        (f"MOTIF x\n{MATRIX}".replace("nsites= 19", "nsites= 0"), "made of no site"),
    ],
)
def test_what_is_not_that_format_is_told_with_its_line(tmp_path, text, said):
    with pytest.raises(FormatError, match=said):
        read_meme(meme(tmp_path, text))


def test_a_consensus_is_nearly_certain_at_each_position():
    motif = consensus_motif("AuxRE", "TGTCTC")
    assert motif.log_odds.shape == (6, 4) and motif.log_odds.argmax(axis=1).tolist() == [3, 2, 3, 1, 3, 1]
    assert motif.log_odds[0].tolist() == pytest.approx([np.log2(0.04)] * 3 + [np.log2(3.88)])
