"""A bundle as ONNX models, through the PyTorch exporter from its Hugging Face folder (the extra `interop`).

logits.onnx     input_ids, attention_mask [B, L] → logits [B, L, V] of the masked (or causal) head
embed.onnx      input_ids, attention_mask [B, L] → vectors [B, D]: the masked mean of the final states
tokenizer.json  how text becomes tokens, for the library `tokenizers`
onnx.json       opset, versions, origin, digests
README.md       how to call them

B and L are dynamic: one file serves every batch and length. Before the folder takes its name, both models are run in
onnxruntime beside the network that they come from, on rows of several lengths, padded and not.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int32

from plantgfm.export.bundle import Bundle, BundleError
from plantgfm.export.exchange import write_exchange
from plantgfm.export.folder import whole_folder
from plantgfm.export.quiet import quiet_transformers
from plantgfm.identity import file_sha256
from plantgfm.model.build import build
from plantgfm.model.config import ComputeType
from plantgfm.tokenization.vocabulary import CLS, FIRST_BASE, PAD

OPSET = 20
TOLERANCE = 1e-4
_NEEDED = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")
_MARK, _FUNCTIONS = "onnx.json", {"logits": "logits", "embed": "vectors"}
_CHECKED = ((1, 2), (3, 70), (2, 129))  # rows, tokens

_README = """\
# plantgfm as ONNX

They need Python with onnxruntime and numpy; `tokenizers` makes token ids out of text. Opset {opset}.

```python
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

logits, embed = (onnxruntime.InferenceSession(f"{{name}}.onnx") for name in ("logits", "embed"))
tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
batch = tokenizer.encode_batch(["ACGTACGGCATT", "ACGATTACG"])
feed = {{
    "input_ids": np.array([one.ids for one in batch], np.int64),
    "attention_mask": np.array([one.attention_mask for one in batch], np.int64),
}}

(vectors,) = embed.run(None, feed)  # [B, {width}], masked mean of the final states; [CLS] and [PAD] do not count
(scores,) = logits.run(None, feed)  # [B, L, {size}], of every position; meaningless at [PAD]
```

Both inputs are int64 [B, L] for any B and L, [CLS] (1) first, [PAD] (0) behind; training saw at most {max_tokens}.
Exported by torch {torch} from bundle {fingerprint}, and compared with it in onnxruntime {onnxruntime}: logits and
vectors differ by at most {difference:.1e}.
"""


def write_onnx(out: Path, bundle: Bundle) -> Path:
    """Write a bundle as a folder of ONNX models; it appears whole or not at all.

    Raises:
        BundleError: without the packages that it needs, when `out` exists and is no such folder, or when onnxruntime
            gives logits or vectors that differ from the network's by more than 1e-4.
    """
    if absent := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise BundleError(f"ONNX models need the package {absent[0]}: pip install 'plantgfm[interop]'")
    import onnxruntime
    import torch

    with whole_folder(out, mark=_MARK, what="folder of ONNX models", error=BundleError) as work:
        with tempfile.TemporaryDirectory(prefix="plantgfm-") as folder:
            there = write_exchange(Path(folder) / "there", bundle)
            for name, module in _modules(there, causal=bundle.model_config.causal).items():
                _exported(module, output=_FUNCTIONS[name]).save(str(work / f"{name}.onnx"))
            shutil.copy(there / "tokenizer.json", work / "tokenizer.json")
        difference = _difference(work, bundle)
        if not difference <= TOLERANCE:
            raise BundleError(f"ONNX models differ from the bundle by {difference:.1e}, over {TOLERANCE}: not written")
        versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
        names = sorted(path.name for path in work.iterdir())
        mark = {
            "opset": OPSET,
            "versions": versions,
            "greatest_difference": difference,
            "bundle": bundle.fingerprint,
            "vocabulary_fingerprint": bundle.vocabulary.fingerprint,
            "lineage": bundle.lineage,
            "sha256": {name: file_sha256(work / name) for name in names},
        }
        (work / _MARK).write_text(json.dumps(mark, indent=2, sort_keys=True) + "\n")
        text = _README.format(
            opset=OPSET,
            width=bundle.model_config.d_model,
            size=bundle.vocabulary.size,
            max_tokens=bundle.model_config.max_tokens,
            fingerprint=bundle.fingerprint,
            difference=difference,
            **versions,
        )
        (work / "README.md").write_text(text)
    return out


def _modules(there: Path, *, causal: bool) -> dict[str, Any]:
    """What is exported, as modules of PyTorch: of token ids and the attention mask."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    kind = AutoModelForCausalLM if causal else AutoModelForMaskedLM
    # The other ways of attention choose by the mask, which is an input here.
    with quiet_transformers():
        model = kind.from_pretrained(there, attn_implementation="eager", local_files_only=True).eval()
    more = {"use_cache": False} if causal else {}

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask):
            return self.model(input_ids=input_ids, attention_mask=attention_mask, **more).logits

    class Embed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.base = model.base_model

        def forward(self, input_ids, attention_mask):
            found = self.base(input_ids=input_ids, attention_mask=attention_mask, **more).last_hidden_state
            counted = ((input_ids != PAD) & (input_ids != CLS) & (attention_mask > 0)).to(found.dtype)[..., None]
            return (found * counted).sum(1) / counted.sum(1).clamp(min=1)

    return {"logits": Logits().eval(), "embed": Embed().eval()}


def _exported(module: Any, *, output: str) -> Any:
    """A module as an ONNX program with dynamic batch and length."""
    import torch

    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    ids = torch.from_numpy(_rows(2, 70, FIRST_BASE + 1).astype(np.int64))
    with warnings.catch_warnings(), _without(logging.WARNING, of="torch.onnx._internal.exporter._registration"):
        warnings.simplefilter("ignore")  # that both inputs share their axes; and, above, that torchvision is not there
        return torch.onnx.export(
            module,
            (ids, (ids != PAD).long()),
            dynamo=True,
            opset_version=OPSET,
            input_names=["input_ids", "attention_mask"],
            output_names=[output],
            dynamic_shapes={name: {0: batch, 1: length} for name in ("input_ids", "attention_mask")},
            verbose=False,
        )


@contextmanager
def _without(level: int, *, of: str) -> Iterator[None]:
    """Leave out what a logger says up to a level."""
    logger = logging.getLogger(of)
    before = logger.level
    logger.setLevel(level + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _rows(rows: int, length: int, size: int) -> Int32[np.ndarray, "B L"]:
    """Tokens of a vocabulary at random, the last row padded from its middle on where there are several."""
    tokens = np.random.default_rng(length).integers(FIRST_BASE, size, (rows, length)).astype(np.int32)
    tokens[:, 0] = CLS
    if rows > 1:
        tokens[-1, (length + 1) // 2 :] = PAD
    return tokens


def _difference(folder: Path, bundle: Bundle) -> float:
    """The greatest difference of a logit or a number of a vector from the network's, in float32."""
    import onnxruntime

    config, size = replace(bundle.model_config, compute_type=ComputeType.FLOAT32), bundle.vocabulary.size
    network = build(config, size)

    @jax.jit
    def ours(params: Any, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = network.hidden(params, tokens)
        return network.masked_logits(params, hidden)[..., :size], network.pool(hidden, tokens)

    sessions = [
        onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"]) for name in _FUNCTIONS
    ]
    worst = []
    for shape in _CHECKED:
        tokens = _rows(*shape, size)
        feed = {"input_ids": tokens.astype(np.int64), "attention_mask": (tokens != PAD).astype(np.int64)}
        (logits,), (vectors,) = (session.run(None, feed) for session in sessions)
        expected = [np.asarray(one) for one in ours(bundle.params, jnp.asarray(tokens))]
        there = tokens != PAD
        worst += [np.abs(logits[there] - expected[0][there]).max(), np.abs(vectors - expected[1]).max()]
    return float(np.max(worst))
