"""Numbers in cells: digits and decimal points of ASCII, of bounded length; nothing else that Python takes."""

import pytest

from plantgfm.formats.numbers import decimal, is_whole, whole


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("007", 7), ("9" * 18, 10**18 - 1)])
def test_whole_numbers(text, value):
    assert is_whole(text) and whole(text, "end") == value < 2**63


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "+1", "-1", "1.0", "1e3", "1_0", "0x1", "\u0663", "\xb2", "9" * 19, "1\n"]
)
def test_what_is_no_whole_number(text):
    assert not is_whole(text)
    with pytest.raises(ValueError, match="^end .* is no whole number of at most 18 digits$"):
        whole(text, "end")


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("-.5", -0.5), ("1.", 1.0), ("+1e-3", 1e-3), ("2E5", 2e5)])
def test_decimal_numbers(text, value):
    assert decimal(text, "score") == value


@pytest.mark.parametrize("text", ["", ".", "e5", " 1", "1_0", "\u0663", "0x1", "1,5", "high"])
def test_what_is_no_decimal_number(text):
    with pytest.raises(ValueError, match="^score .* is no number$"):
        decimal(text, "score")


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1e999"])
def test_numbers_without_an_end(text):
    with pytest.raises(ValueError, match="^score .* is not finite$"):
        decimal(text, "score")
