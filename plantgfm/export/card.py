"""The model card of a bundle: species, data, figures, limits, licence."""

from __future__ import annotations

from typing import Any

from plantgfm.model.config import ModelConfig
from plantgfm.tokenization.vocabulary import Vocabulary

_TEMPLATE = """\
---
library_name: plantgfm
license: apache-2.0
tags: [genomics, plants, masked-language-modeling]
---

# plantgfm encoder, {n_parameters:,} parameters

A {config.n_layers}-layer ModernBERT encoder of width {config.d_model} over a hybrid vocabulary of {vocabulary.size:,}
tokens (all 6-mers, {n_eight:,} chosen 8-mers, single bases, N), pre-trained jointly on masked tokens and on the token
distribution of a region further downstream.

## Data

Corpus `{corpus}`, species: {species}.

Steps: {steps}. Window: {config.max_tokens} tokens. The licence above is that of the code and of these parameters; the
licences of the input genomes are those that their manifest states.

## Validation figures, measured during training

{metrics}

## Use

```bash
plantgfm embed . --fasta genome.fa.gz --out vectors.parquet
```

## Limits

- It has seen the species above and nothing else; on others, measure before you trust it.
- Embeddings follow sequence composition first; compare with k-mer vectors on your own task.
- Segmentation depends on the frame: the same motif at another offset is other tokens.
"""


def model_card(config: ModelConfig, vocabulary: Vocabulary, lineage: dict[str, Any], *, n_parameters: int) -> str:
    """Markdown of the card; what the lineage does not state is said to be not stated."""
    metrics = lineage.get("metrics") or {}
    lines = [f"- {name}: {value:.4f}" for name, value in sorted(metrics.items()) if isinstance(value, float)]
    return _TEMPLATE.format(
        config=config,
        vocabulary=vocabulary,
        n_eight=len(vocabulary.eight_mers),
        n_parameters=n_parameters,
        corpus=lineage.get("corpus_fingerprint", "not stated"),
        species=", ".join(f"*{name}*" for name in lineage.get("species", [])) or "not stated",
        steps=lineage.get("step", "not stated"),
        metrics="\n".join(lines) or "None stated.",
    )
