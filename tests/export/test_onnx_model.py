"""ONNX export where its packages are not installed; the models themselves are tried in `tests/interop`."""

import importlib.util

import pytest

from plantgfm.export.bundle import BundleError, load_bundle
from plantgfm.export.onnx_model import write_onnx
from plantgfm.wiring.exports import export_as
from tests.fixtures import write_small_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx")
    write_small_bundle(path / "bundle")
    return path


@pytest.mark.parametrize("absent", ["torch", "onnx", "onnxscript", "onnxruntime"])
def test_what_is_missing_is_named_and_nothing_is_left(folder, monkeypatch, absent):
    bundle, out = load_bundle(folder / "bundle"), folder / "there"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == absent else name)
    for work in (lambda: write_onnx(out, bundle), lambda: export_as(folder / "bundle", out, form="onnx")):
        with pytest.raises(BundleError, match=rf"need the package {absent}: pip install 'plantgfm\[interop\]'"):
            work()
    assert [path.name for path in folder.iterdir()] == ["bundle"]
