"""The alphabet: codes, reverse complement, runs, intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantgfm.sequence import REPEAT_BIT, Interval, decode, encode, mask_of, reverse_complement, runs_of

DNA = st.text(alphabet="ACGTN", max_size=200)


@given(DNA)
def test_encode_decode_is_the_identity_on_acgtn(text):
    assert decode(encode(text)) == text


def test_lower_case_iupac_and_uracil_follow_the_policy():
    assert decode(encode("acgturyN")) == "ACGTTNNN"


def test_invalid_character_is_named_with_its_position():
    with pytest.raises(ValueError, match="'E' at position 3"):
        encode("ACE")


@given(DNA)
def test_reverse_complement_is_an_involution(text):
    codes = encode(text)
    assert np.array_equal(reverse_complement(reverse_complement(codes)), codes)


def test_reverse_complement_by_hand_keeps_the_repeat_bit_with_its_base():
    codes = encode("AACGN")
    assert decode(reverse_complement(codes)) == "NCGTT"
    codes[0] |= REPEAT_BIT
    assert (reverse_complement(codes) & REPEAT_BIT).tolist() == [0, 0, 0, 0, REPEAT_BIT]


@given(st.lists(st.booleans(), max_size=60))
def test_runs_and_masks_are_inverse(bits):
    mask = np.array(bits, dtype=bool)
    assert np.array_equal(mask_of(runs_of(mask), mask.size), mask)


def test_interval_refuses_a_negative_start_and_a_reversed_span():
    assert Interval("chr1", 2, 5).length_bp == 3
    for start, end in ((-1, 2), (5, 4)):
        with pytest.raises(ValueError, match="0 <= start <= end"):
            Interval("chr1", start, end)
