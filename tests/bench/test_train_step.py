from plantgfm.bench import contenders, train_step
from plantgfm.bench.contenders import Case

SMALL = Case(tokens=24, windows=2, model={"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 16})


def test_the_bench_gives_our_row_and_says_when_there_is_no_peer(monkeypatch, quick_compilation):
    monkeypatch.setattr(train_step, "_CASE", SMALL)
    monkeypatch.setattr(train_step, "_ROUNDS", 2)
    monkeypatch.setattr(contenders, "have_peers", lambda: False)
    rows = train_step.run()
    assert [set(row) for row in rows] == [{"name", "value", "unit", "bar"}] * 2
    assert rows[0]["name"] == "train step: ours" and rows[0]["value"] > 0
    assert "not installed" in rows[1]["name"]


def test_a_peer_stands_beside_ours_with_its_bar(monkeypatch):
    def stand_in(name):
        return contenders.Contender(name, lambda steps: None, "", lambda: None)

    monkeypatch.setattr(contenders, "have_peers", lambda: True)
    monkeypatch.setattr(contenders, "fastest_attentions", lambda: ["sdpa"])
    monkeypatch.setattr(contenders, "ours", lambda case: stand_in("ours"))
    monkeypatch.setattr(contenders, "peer", lambda case, kind, attention: stand_in(f"{kind} {attention}"))
    seconds = {"ours": 2.0, "PyTorch, defaults": 5.0, "PyTorch, sparse_prediction": 3.0}
    monkeypatch.setattr(train_step, "quickest", lambda steps, rounds: {name: seconds[name] for name in steps})
    ratios = [(row["value"], row["bar"]) for row in train_step.run() if row["unit"] == "x"]
    assert ratios == [(2.5, 1.0), (1.5, None)]


def test_the_vocabulary_of_the_bench_has_the_default_size():
    assert contenders.eight_mers().size == 8201
