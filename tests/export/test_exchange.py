"""Folders for Hugging Face's libraries: nothing is lost on the way there and back, nothing foreign comes in."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from plantgfm.export.bundle import BundleError, flatten, load_bundle, write_bundle
from plantgfm.export.exchange import read_exchange, write_exchange
from plantgfm.export.huggingface import hf_config, model_config
from plantgfm.model.build import build
from plantgfm.model.config import ComputeType, ModelConfig
from plantgfm.sequence import CODE_OF_BYTE, INVALID, UNKNOWN
from plantgfm.tokenization.encode import encode
from plantgfm.tokenization.huggingface import tokenizer_json, vocabulary_of
from tests.fixtures import fresh, small_bundle, small_model, small_vocabulary

LAYOUTS = [{"local_attention": 8, "n_layers": 4}, {"causal": True, "compute_type": ComputeType.BFLOAT16}]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return small_bundle(tmp_path_factory.mktemp("exchange") / "bundle", seed=4)


@pytest.fixture(scope="module")
def written(bundle, tmp_path_factory):
    return write_exchange(tmp_path_factory.mktemp("exchange") / "there", bundle)


@pytest.fixture
def there(written, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(written, tmp_path / "there")


def edit(path, **changes):
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def bundle_of(path, **layout):
    config, vocabulary = small_model(**layout), small_vocabulary()
    network = build(config, vocabulary.size)
    params = fresh(network, 5)
    parts = {"network": network, "params": params, "model_config": config, "vocabulary": vocabulary}
    return load_bundle(write_bundle(path, lineage={"step": 3}, **parts))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_there_and_back_the_bundle_is_the_same_to_the_last_bit(tmp_path, layout):
    before = bundle_of(tmp_path / "before", **layout)
    found = read_exchange(write_exchange(tmp_path / "there", before))
    after = load_bundle(found.write(tmp_path / "after"))
    theirs, ours = flatten(after.params), flatten(before.params)
    assert all(np.array_equal(theirs[name], ours[name]) for name in ours | theirs)
    assert (found.absent, found.unplaced) == ([], [])
    assert after.fingerprint == before.fingerprint


def test_the_folder_holds_nothing_that_runs(written):
    suffixes = {path.suffix for path in written.rglob("*") if path.is_file()}
    assert suffixes == {".json", ".safetensors", ".md"}
    assert "auto_map" not in json.loads((written / "config.json").read_text())
    card = (written / "README.md").read_text()
    assert "library_name: transformers" in card and "pipeline_tag: fill-mask" in card and "*Fictus primus*" in card


def adversarial_texts(n):
    """Random nucleotide texts of either case with runs, IUPAC codes, whole 8-mers in and out of frame."""
    rng = np.random.default_rng(11)
    letters = [letter for letter in map(chr, range(256)) if CODE_OF_BYTE[ord(letter)] != INVALID]
    weights = np.array([20.0 if letter in "ACGTacgt" else 0.2 for letter in letters])
    words = [*small_vocabulary().tokens[-7:], "N" * 9, "aaaaaaaa", "ACGTAC", "u"]
    for _ in range(n):
        parts = ["".join(rng.choice(letters, rng.integers(0, 40), p=weights / weights.sum())) for _ in range(2)]
        yield str(rng.choice(words)).join([parts[0], "", parts[1]][: rng.integers(1, 4)])


def test_ids_are_those_of_the_kernel_on_ten_thousand_texts(written):
    tokenizer, vocabulary = Tokenizer.from_file(str(written / "tokenizer.json")), small_vocabulary()
    texts = list(adversarial_texts(10_000))
    for text, found in zip(texts, tokenizer.encode_batch(texts)):
        codes = CODE_OF_BYTE[np.frombuffer(text.encode(), np.uint8)]
        assert found.ids == [1, *encode(vocabulary, np.where(codes == INVALID, UNKNOWN, codes)).tolist()], text


def test_a_model_trained_elsewhere_comes_home_with_its_own_weights(there, bundle, tmp_path):
    arrays = load_file(there / "model.safetensors")
    arrays["model.final_norm.weight"] = arrays["model.final_norm.weight"] + 1
    save_file(arrays, there / "model.safetensors")
    found = read_exchange(there)
    home = load_bundle(found.write(tmp_path / "home"))
    np.testing.assert_array_equal(home.params["final_norm"]["scale"], bundle.params["final_norm"]["scale"] + 1)
    np.testing.assert_array_equal(home.params["next_region"]["bias"], bundle.params["next_region"]["bias"])
    assert "metrics" not in home.lineage  # they were measured on other parameters
    assert home.lineage["species"] == ["Fictus primus"]
    assert home.lineage["imported"]["from_bundle"] == bundle.fingerprint


def test_without_our_files_the_head_is_the_bases_or_untrained_and_said_to_be(there, bundle):
    for name in ("plantgfm.json", "next_region.safetensors"):
        (there / name).unlink()
    alone, based = read_exchange(there), read_exchange(there, base=bundle)
    assert alone.absent and all(name.startswith("next_region.") for name in alone.absent)
    assert alone.lineage["imported"]["untrained"] == alone.absent == based.absent
    assert based.lineage["imported"]["taken_from_base"] == based.absent
    ours = flatten(bundle.params)
    assert all(np.array_equal(value, ours[name]) for name, value in flatten(based.params).items())
    head = flatten(alone.params)["next_region.dense.kernel"]
    assert not np.array_equal(head, ours["next_region.dense.kernel"]) and np.std(head) > 0


def test_a_head_of_another_version_is_not_mixed_with_a_new_one(there, bundle):
    rest = load_file(there / "next_region.safetensors")
    del rest["next_region.copy_bias"]
    save_file(rest, there / "next_region.safetensors")
    (there / "plantgfm.json").unlink()
    found = read_exchange(there)
    assert "next_region.bias" in found.absent and "next_region.copy_bias" in found.absent
    assert not np.array_equal(
        flatten(found.params)["next_region.dense.kernel"], flatten(bundle.params)["next_region.dense.kernel"]
    )


def test_a_classifier_brings_its_encoder_and_leaves_its_head(there, bundle):
    arrays = load_file(there / "model.safetensors")
    del arrays["decoder.bias"]
    arrays |= {"classifier.weight": np.ones((2, 32), np.float32), "head.dense.weight": np.ones((32, 32), np.float32)}
    save_file(arrays, there / "model.safetensors")
    edit(there / "config.json", architectures=["ModernBertForSequenceClassification"])
    with pytest.raises(BundleError, match=r"lacks parameter masked_head\.\S+: `plantgfm import` takes it .* --base"):
        read_exchange(there)
    found = read_exchange(there, base=bundle)
    assert "task.classifier.weight" in found.unplaced and "task.head.dense.weight" in found.unplaced
    ours = flatten(bundle.params)["masked_head.dense.kernel"]
    np.testing.assert_array_equal(flatten(found.params)["masked_head.dense.kernel"], ours)


def test_weights_saved_in_shards_or_from_auto_model_are_read(there, bundle):
    arrays = load_file(there / "model.safetensors")
    names = sorted(arrays)
    bare = {name.removeprefix("model."): arrays[name] for name in names if name.startswith("model.")}
    parts = {f"model-{i}.safetensors": dict(list(bare.items())[i::2]) for i in range(2)}
    for name, part in parts.items():
        save_file(part, there / name)
    (there / "model.safetensors").unlink()
    where = {key: name for name, part in parts.items() for key in part}
    (there / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    edit(there / "config.json", architectures=["ModernBertModel"])
    found = read_exchange(there, base=bundle)
    ours = flatten(bundle.params)
    assert all(np.array_equal(value, ours[name]) for name, value in flatten(found.params).items())


def wrong_folders():
    def untie(folder):
        arrays = load_file(folder / "model.safetensors")
        arrays["decoder.weight"] = arrays["model.embeddings.tok_embeddings.weight"] + 1
        save_file(arrays, folder / "model.safetensors")

    def spoil(folder):
        arrays = load_file(folder / "model.safetensors")
        arrays["model.final_norm.weight"][3] = np.nan
        save_file(arrays, folder / "model.safetensors")

    def lower_case(folder):
        content = json.loads((folder / "tokenizer.json").read_text())
        content["normalizer"]["normalizers"] = content["normalizer"]["normalizers"][1:]
        (folder / "tokenizer.json").write_text(json.dumps(content))

    def add_token(folder):
        content = json.loads((folder / "tokenizer.json").read_text())
        content["added_tokens"].append({"id": 4112, "content": "[EXTRA]"})
        (folder / "tokenizer.json").write_text(json.dumps(content))

    config = lambda **changes: lambda folder: edit(folder / "config.json", **changes)  # noqa: E731
    return {
        "config.json is missing": lambda folder: (folder / "config.json").unlink(),
        "model_type is 'bert'": config(model_type="bert"),
        "hidden_activation is 'silu'": config(hidden_activation="silu"),
        "hidden_size is '32'": config(hidden_size="32"),
        "layer_types are neither": config(layer_types=["sliding_attention"] * 2),
        r"means n_heads 4, plantgfm.json 2": config(num_attention_heads=4),
        "config.json has 9 tokens, the tokenizer 4112": config(vocab_size=9),
        "decoder.weight is not the token embedding": untie,
        r"model.final_norm.weight holds infinite numbers or none \(NaN\)": spoil,
        "its normalizer is not the one of our tokenizer": lower_case,
        r"token '\[EXTRA\]' was added": add_token,
        "is no tokenizer of ours: it has no table": lambda folder: edit(folder / "tokenizer.json", model={}),
        "is a pickle and is not read": lambda folder: (folder / "model.safetensors").rename(folder / "model.bin"),
        "is no readable safetensors": lambda folder: (folder / "model.safetensors").write_bytes(b"{" * 99),
        "next_region.safetensors is not the file": lambda folder: save_file({}, folder / "next_region.safetensors"),
        "has version 99": lambda folder: edit(folder / "plantgfm.json", version=99),
        "is damaged: 'lineage' is missing": lambda folder: edit(folder / "plantgfm.json", lineage=None),
        "one of them is of another model": lambda folder: edit(folder / "plantgfm.json", vocabulary_fingerprint="0"),
    }


@pytest.mark.parametrize("said", wrong_folders())
def test_what_is_not_such_a_model_is_refused_by_name(there, said):
    wrong_folders()[said](there)
    with pytest.raises(BundleError, match=said):
        read_exchange(there)


def test_another_folder_is_not_overwritten_and_an_older_export_is(bundle, there, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(BundleError, match="mine exists and is no exported model"):
        write_exchange(tmp_path / "mine", bundle)
    (there / "stray.txt").write_text("of an older export")
    write_exchange(there, bundle)
    assert not (there / "stray.txt").exists() and read_exchange(there).absent == []
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "there"}


def test_a_base_with_another_vocabulary_is_refused(there, tmp_path):
    edit(there / "plantgfm.json", lineage=None)
    (there / "plantgfm.json").unlink()
    config = small_model()
    other = small_vocabulary()
    other = type(other)(other.eight_mers[:0])
    network = build(config, other.size)
    params = fresh(network)
    path = write_bundle(
        tmp_path / "b", network=network, params=params, model_config=config, vocabulary=other, lineage={}
    )
    with pytest.raises(BundleError, match="the base has vocabulary"):
        read_exchange(there, base=load_bundle(path))


def test_settings_that_save_pretrained_leaves_out_mean_its_defaults():
    found = model_config({"model_type": "modernbert"})
    assert (found.d_model, found.n_layers, found.local_attention, found.max_tokens) == (768, 22, 128, 8192)
    config = ModelConfig(d_model=768, n_layers=22, n_heads=12, d_ff=1152, max_tokens=8192)
    full = model_config({"model_type": "modernbert", "global_attn_every_n_layers": 1})
    assert full == config == model_config(hf_config(config, small_vocabulary()))


def test_a_vocabulary_is_read_back_from_its_tokenizer():
    vocabulary = small_vocabulary()
    assert vocabulary_of(json.loads(json.dumps(tokenizer_json(vocabulary)))) == vocabulary
