"""Who is timed in a comparison of training steps: ours, and ModernBERT of `transformers` in PyTorch, at one size.

Ours is a whole step of training: masks drawn inside, k-mer features folded in, masked and next-region losses, clipping,
AdamW. Theirs gets its masks ready-made: forward, backward and `torch.optim.AdamW`; dense computes logits at every
position (the defaults of `transformers`), sparse at masked positions only (`sparse_prediction=True`), compiled is
sparse through `torch.compile`. Both keep parameters in float32 and compute products in the precision of the case.

Imported by what times on machines where only jax, flax, optax, orbax, numpy and numba are installed; PyTorch and
`transformers` are imported where a peer is made.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from plantgfm.identity import plain, restore
from plantgfm.model.build import build
from plantgfm.model.config import ComputeType, ModelConfig, Size, model_size
from plantgfm.model.flops import step_flops
from plantgfm.model.ways import attention_line
from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.objectives.joint import loss
from plantgfm.objectives.masking import slot_count
from plantgfm.partition import batch_sharding, make_mesh, rows_of_process, state_shardings
from plantgfm.schema import Batch
from plantgfm.tokenization.features import kmer_features
from plantgfm.tokenization.vocabulary import CLS, FIRST_SIX, MASK, Vocabulary, reverse_complement_codes
from plantgfm.training.config import OptimizerConfig
from plantgfm.training.optimizer import build_optimizer
from plantgfm.training.state import abstract_state, state_init
from plantgfm.training.step import make_step, place_batches
from plantgfm.training.throughput import device_memory_bytes

OURS = "ours"
PEERS = ("dense", "sparse", "compiled")
_IGNORED = -100
_SCHEDULE_STEPS = 1000
_KMER_BP = 6


@dataclass(frozen=True)
class Case:
    """What is timed: a model, a batch, a precision, a mesh."""

    size: str = Size.TINY.value
    tokens: int = 512  # of a window
    windows: int = 16  # of a step, over all devices and micro batches
    precision: str = ComputeType.FLOAT32.value
    mesh: tuple[int, int, int] = (1, 1, 1)  # data, fsdp, tensor
    micro_batches: int = 1
    model: dict[str, Any] = field(default_factory=dict)  # further fields of ModelConfig, as `plain` writes them

    @property
    def devices(self) -> int:
        """That the mesh takes."""
        return math.prod(self.mesh)

    @property
    def step_tokens(self) -> int:
        """Input tokens of a step."""
        return self.windows * self.tokens

    @property
    def step_bp(self) -> int:
        """Base pairs of a step: the upstream windows', whose first token is [CLS]."""
        return self.windows * _KMER_BP * (self.tokens - 1)

    def config(self) -> ModelConfig:
        """The model's settings.

        Raises:
            ValueError: for a size, a precision or a field that does not exist, and for a shape that can't be.
        """
        for kind, value in ((Size, self.size), (ComputeType, self.precision)):
            if value not in (known := [one.value for one in kind]):
                raise ValueError(f"{value!r} is not a valid {kind.__name__}: there are {', '.join(known)}")
        named = plain(model_size(Size(self.size), max_tokens=self.tokens))
        return restore(ModelConfig, {**named, "compute_type": self.precision, **self.model})


@dataclass(frozen=True)
class Contender:
    """A step that can be timed."""

    name: str
    run: Callable[[int], None]  # does so many steps, and returns when the device has done them
    how: str  # attention and precision, in words
    memory_bytes: Callable[[], int | None]  # the most on one device so far, None where nobody counts


def eight_mers() -> Vocabulary:
    """4,096 8-mers, as by default; which ones does not matter here."""
    codes = np.random.default_rng(0).permutation(4**8)
    pairs = np.stack([codes, reverse_complement_codes(codes, 8)], axis=1)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]][:2048]
    return Vocabulary(np.sort(pairs.ravel()).astype(np.uint16))


def case_flops(case: Case) -> float:
    """Of the model in a step, as the throughput report counts them: ours, the next-region head included."""
    network = build(case.config(), eight_mers().size)
    slots = slot_count(case.tokens, ObjectiveConfig().masked_fraction)
    return case.windows * step_flops(network, tokens=case.tokens, slots=slots)


def random_tokens(vocabulary: Vocabulary, *, windows: int, tokens: int, seed: int) -> np.ndarray:
    """Windows [B, L] of 6-mers and 8-mers, [CLS] first."""
    found = np.random.default_rng(seed).integers(FIRST_SIX, vocabulary.size, (windows, tokens)).astype(np.int32)
    found[:, 0] = CLS
    return found


def random_batch(vocabulary: Vocabulary, *, windows: int, tokens: int, share: int = 0) -> Batch:
    """A batch of 8 species; each share of a step that processes split has windows of its own."""
    shape = {"windows": windows, "tokens": tokens}
    upstream, following = (random_tokens(vocabulary, **shape, seed=2 * share + side) for side in (1, 2))
    numbers = np.arange(windows, dtype=np.int32)
    return Batch(upstream, np.zeros(upstream.shape, np.float32), following, 100 * numbers, numbers % 8)


def ours(case: Case) -> Contender:
    """Our step, compiled, on the mesh of the case, over all processes of the run.

    Raises:
        ValueError: for a mesh that the devices at hand, or the windows, do not fit.
    """
    vocabulary, config = eight_mers(), case.config()
    network = build(config, vocabulary.size, features=kmer_features(vocabulary))
    objective, optimizer = ObjectiveConfig(), build_optimizer(OptimizerConfig(), _SCHEDULE_STEPS)
    data, fsdp, tensor = case.mesh
    mesh = make_mesh(data=data, fsdp=fsdp, tensor=tensor)
    share, shares = rows_of_process(mesh, jax.process_index())
    if case.windows % (data * fsdp * case.micro_batches):
        raise ValueError(
            f"{case.windows} windows a step in {case.micro_batches} micro batches do not divide among data x fsdp = "
            f"{data * fsdp}"
        )
    batch = random_batch(vocabulary, windows=case.windows // shares, tokens=case.tokens, share=share)
    state_sharding, rows = None, None
    if mesh.size > 1:
        state_sharding = state_shardings(mesh, jax.eval_shape(state_init(network.init, optimizer, seed=0)))
        rows = batch_sharding(mesh)
    init = state_init(network.init, optimizer, seed=0, sharding=state_sharding)
    batch = (
        jax.device_put(batch) if rows is None else next(place_batches((one for one in [batch]), rows, shares=shares))
    )
    step = make_step(
        lambda params, batch, key: loss(network, params, batch, key, objective),
        optimizer,
        seed=0,
        micro_batches=case.micro_batches,
        state_sharding=state_sharding,
        batch_sharding=rows,
        adds_up=True,
    )
    program = step.lower(abstract_state(init, sharding=state_sharding), batch).compile()
    state = init()

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state, metrics = program(state, batch)
        jax.block_until_ready((state, metrics))

    how = f"{attention_line(config, length=case.tokens)}; {config.compute_type.value} products"
    return Contender(OURS, run, how, lambda: device_memory_bytes() or _program_bytes(program))


def _program_bytes(program: Any) -> int | None:
    """What a compiled step takes on a device by XLA's own account; None where it gives none."""
    sizes = program.memory_analysis()
    if sizes is None:
        return None
    given = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return given + sizes.temp_size_in_bytes


def have_peers() -> bool:
    """Whether PyTorch and `transformers` are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))


def fastest_attentions() -> list[str]:
    """What may be the fastest attention of `transformers` here: flash-attention where installed, and SDPA."""
    import torch

    flash = torch.cuda.is_available() and importlib.util.find_spec("flash_attn") is not None
    return ["flash_attention_2", "sdpa"] if flash else ["sdpa"]


def peer(case: Case, kind: str, *, attention: str) -> Contender:
    """The same architecture in PyTorch.

    Args:
        case: of one device; the peers know no mesh.
        kind: of `PEERS`.
        attention: as `transformers` names it.
    """
    import torch
    import transformers

    from plantgfm.export.huggingface import hf_config  # needs safetensors, as transformers does

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")  # what XLA does for float32 on such devices, too
    vocabulary, config = eight_mers(), case.config()
    fields = {name: value for name, value in hf_config(config, vocabulary).items() if name != "architectures"}
    settings = transformers.ModernBertConfig(**fields, sparse_prediction=kind != "dense", attn_implementation=attention)
    model = transformers.ModernBertForMaskedLM(settings).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    forward = torch.compile(model) if kind == "compiled" else model
    found = random_tokens(vocabulary, windows=case.windows, tokens=case.tokens, seed=1)
    tokens = torch.tensor(found, dtype=torch.long, device=device)
    chosen = np.random.default_rng(0).random(found.shape) < ObjectiveConfig().masked_fraction
    hidden = torch.tensor(chosen, device=device)
    labels, inputs = torch.where(hidden, tokens, _IGNORED), torch.where(hidden, MASK, tokens)
    parts = list(zip(inputs.chunk(case.micro_batches), labels.chunk(case.micro_batches)))
    low = case.precision == ComputeType.BFLOAT16.value
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def run(steps: int) -> None:
        for _ in range(steps):
            for part, wanted in parts:
                with torch.autocast(device, dtype=torch.bfloat16, enabled=low):
                    lost = forward(input_ids=part, attention_mask=torch.ones_like(part), labels=wanted).loss
                (lost / len(parts)).backward()
            optimizer.step()
            optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()

    how = f"attention {model.config._attn_implementation}, {'autocast bfloat16' if low else 'float32'}"
    memory = torch.cuda.max_memory_allocated if device == "cuda" else lambda: None
    return Contender(f"PyTorch, {kind}, {attention}", run, how, memory)
