"""ONNX export where its packages are not installed; the models themselves are tried in `tests/interop`."""

import importlib.util

import pytest

from plantgfm.export.bundle import BundleError
from plantgfm.export.onnx_model import write_onnx
from plantgfm.wiring.exports import export_as
from tests.fixtures import small_bundle


@pytest.mark.parametrize("absent", ["torch", "onnx", "onnxscript", "onnxruntime"])
def test_what_is_missing_is_named_and_nothing_is_left(tmp_path, monkeypatch, absent):
    bundle = small_bundle(tmp_path / "bundle")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == absent else name)
    out = tmp_path / "there"
    for work in (lambda: write_onnx(out, bundle), lambda: export_as(tmp_path / "bundle", out, form="onnx")):
        with pytest.raises(BundleError, match=rf"need the package {absent}: pip install 'plantgfm\[interop\]'"):
            work()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
