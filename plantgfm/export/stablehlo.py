"""A bundle's functions as StableHLO: they run with jax and flatbuffers alone, on processors, GPUs and TPUs.

embed.jax_export    (parameters, tokens [B, L]) → vectors [B, D]: the masked mean of the final states
logits.jax_export   (parameters, tokens [B, L]) → logits [B, L, V] of the masked (or causal) head
parameters.npz      the parameters: a flat dictionary, the first argument of both
tokenizer.json      how text becomes tokens, for the library `tokenizers`
stablehlo.json      platforms, jax version, origin, digests
README.md           how to call them

B and L are symbolic: one file serves every batch and length. Written by `jax.export`, whose files a jax of up to six
months before and any later one reads (its stated guarantee).
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jaxtyping import Array, Float, Int32

from plantgfm.export.bundle import Bundle, BundleError, flatten, unflatten
from plantgfm.export.folder import whole_folder
from plantgfm.identity import file_sha256
from plantgfm.model.build import build
from plantgfm.model.config import AttentionKind
from plantgfm.tokenization.huggingface import tokenizer_json

PLATFORMS = ("cpu", "cuda", "tpu")
_PARAMETERS, _MARK = "parameters.npz", "stablehlo.json"

_README = """\
# plantgfm functions as StableHLO

They need Python with jax and flatbuffers; `tokenizers` makes token ids out of text.

```python
from pathlib import Path

import jax.export
import numpy as np
from tokenizers import Tokenizer

parameters = dict(np.load("parameters.npz"))
embed, logits = (jax.export.deserialize(Path(f"{{name}}.jax_export").read_bytes()) for name in ("embed", "logits"))
tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
tokens = np.array([one.ids for one in tokenizer.encode_batch(["ACGTACGGCATT", "ACGATTACG"])], np.int32)

vectors = embed.call(parameters, tokens)  # [B, {width}], masked mean of the final states; [CLS] and [PAD] do not count
scores = logits.call(parameters, tokens)  # [B, L, {size}], of every position; meaningless at [PAD]
```

Tokens are int32 [B, L] for any B and L, [CLS] (1) first, [PAD] (0) behind; training saw at most {max_tokens}.
Lowered for {platforms} with jax {version}, from bundle {fingerprint}.
"""


def write_stablehlo(out: Path, bundle: Bundle) -> Path:
    """Write a bundle as a folder of exported functions; it appears whole or not at all.

    Raises:
        BundleError: when `out` exists and is no such folder, or flatbuffers is not installed.
        ValueError: for a vocabulary that is no hybrid.
    """
    bundle.vocabulary.require_hybrid("an export with its tokenizer")
    if importlib.util.find_spec("flatbuffers") is None:
        raise BundleError("StableHLO files need the package flatbuffers: pip install flatbuffers")
    with whole_folder(out, mark=_MARK, what="folder of StableHLO functions", error=BundleError) as work:
        used = {name: value for name, value in flatten(bundle.params).items() if not name.startswith("next_region.")}
        np.savez(work / _PARAMETERS, **used)
        names = [_PARAMETERS]
        for name, function in functions(bundle).items():
            names.append(f"{name}.jax_export")
            (work / names[-1]).write_bytes(lowered(function, used).serialize())
        (work / "tokenizer.json").write_text(json.dumps(tokenizer_json(bundle.vocabulary)) + "\n")
        mark = {
            "platforms": PLATFORMS,
            "jax": jax.__version__,
            "bundle": bundle.fingerprint,
            "vocabulary_fingerprint": bundle.vocabulary.fingerprint,
            "lineage": bundle.lineage,
            "sha256": {name: file_sha256(work / name) for name in names},
        }
        (work / _MARK).write_text(json.dumps(mark, indent=2, sort_keys=True) + "\n")
        text = _README.format(
            width=bundle.model_config.d_model,
            size=bundle.vocabulary.size,
            max_tokens=bundle.model_config.max_tokens,
            platforms=", ".join(PLATFORMS),
            version=jax.__version__,
            fingerprint=bundle.fingerprint,
        )
        (work / "README.md").write_text(text)
    return out


Function = Callable[[dict[str, Any], Array], Array]


def functions(bundle: Bundle) -> dict[str, Function]:
    """`embed` and `logits` as pure functions of flat parameters and tokens."""
    # The other ways of attention choose by the length, which is a symbol here.
    config = replace(bundle.model_config, attention=AttentionKind.XLA)
    network, size = build(config, bundle.vocabulary.size), bundle.vocabulary.size
    shapes = dict(network.shapes)
    head = shapes.pop("next_region")

    def nested(flat: dict[str, Any]) -> dict[str, Any]:
        # Neither function reads the next-region head.
        return {**unflatten(flat, shapes), "next_region": jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), head)}

    def embed(flat: dict[str, Any], tokens: Int32[Array, "B L"]) -> Float[Array, "B D"]:
        params = nested(flat)
        return network.pool(network.hidden(params, tokens), tokens).astype(jnp.float32)

    def logits(flat: dict[str, Any], tokens: Int32[Array, "B L"]) -> Float[Array, "B L V"]:
        params = nested(flat)
        return network.masked_logits(params, network.hidden(params, tokens))[..., :size]

    return {"embed": embed, "logits": logits}


def lowered(function: Function, parameters: dict[str, np.ndarray]) -> export.Exported:
    """A function lowered for all platforms, with symbolic batch and length."""
    batch, length = export.symbolic_shape("B, L")
    tokens = jax.ShapeDtypeStruct((batch, length), jnp.int32)
    shapes = {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in parameters.items()}
    return export.export(jax.jit(function), platforms=PLATFORMS)(shapes, tokens)
