"""The peers of `plantgfm bench train` in PyTorch: they train, and are the architecture that ours is."""

import pytest

from plantgfm.bench import contenders, train_case
from plantgfm.bench.contenders import Case

pytestmark = pytest.mark.interop
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

SMALL = Case(tokens=24, windows=4, model={"d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 24})


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_every_parameter_of_a_peer_is_trained(kind, precision, monkeypatch):
    make, given = torch.optim.AdamW, []
    monkeypatch.setattr(torch.optim, "AdamW", lambda those, **more: make(given.extend(those) or given, **more))
    case = Case(SMALL.size, SMALL.tokens, SMALL.windows, precision, micro_batches=2, model=SMALL.model)
    contender = contenders.peer(case, kind, attention="sdpa")
    before = [value.detach().clone() for value in given]
    contender.run(2)
    assert len(given) > 10 and not any(value.equal(old) for value, old in zip(given, before))
    assert contender.how == f"attention sdpa, {'autocast bfloat16' if precision == 'bfloat16' else 'float32'}"


def test_ours_and_theirs_stand_in_one_table():
    rows = train_case.measure(SMALL, peers=["dense", "sparse"], rounds=1, steps=1)
    assert [row.contender for row in rows] == ["ours", "PyTorch, dense, sdpa", "PyTorch, sparse, sdpa"]
    assert all(row.ratio > 0 and not row.error for row in rows) and rows[0].ratio == 1.0
