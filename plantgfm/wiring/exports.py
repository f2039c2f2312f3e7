"""Checkpoints to files that others open, and back: what the commands `export` and `import` do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from plantgfm.export.bundle import Bundle, load_bundle
from plantgfm.export.exchange import Imported, read_exchange, write_exchange
from plantgfm.export.onnx_model import write_onnx
from plantgfm.export.stablehlo import write_stablehlo
from plantgfm.wiring.runs import export_run

FORMATS: dict[str, Callable[[Path, Bundle], Path]] = {
    "huggingface": write_exchange,
    "stablehlo": write_stablehlo,
    "onnx": write_onnx,
}
"""What is written from a bundle, beside the bundle itself."""


def export_as(source: Path, out: Path, *, form: str, step: int | str | None = None) -> Path:
    """Write a checkpoint of a run, or a bundle, in a form that other software opens.

    Args:
        source: a run folder, or a bundle.
        out: folder to write.
        form: "bundle" or a key of `FORMATS`.
        step: of a run, as in `wiring.runs.params_of`.

    Raises:
        ValueError: for a source or an `out` that is something else, or a step of a bundle.
    """
    if form == "bundle":
        return export_run(source, out, step=step)
    if (source / "bundle.json").is_file():
        if step is not None:
            raise ValueError(f"{source} is a bundle, which has one step: choose a step of its run folder")
        return FORMATS[form](out, load_bundle(source))
    with tempfile.TemporaryDirectory(prefix="plantgfm-") as folder:
        bundle = load_bundle(export_run(source, Path(folder) / "bundle", step=step))
        return FORMATS[form](out, bundle)


def import_bundle(source: Path, out: Path, *, base: Path | None) -> Imported:
    """Read a folder of Hugging Face's layout and write it as a bundle; returns what was read."""
    found = read_exchange(source, base=load_bundle(base) if base else None)
    found.write(out)
    return found
