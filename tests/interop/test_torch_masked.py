"""Masked models of transformers behind the interface of ours: 6-mers, single bases; what can't be asked is refused."""

import json

import numpy as np
import pytest

from plantgfm.embedding.config import Pooling
from plantgfm.embedding.encoders import EsmEncoder, TorchEncoder
from plantgfm.embedding.opened import Model, load
from plantgfm.export.bundle import BundleError
from plantgfm.export.exchange import write_exchange
from plantgfm.formats.fasta import write_fasta
from plantgfm.sequence import BASES, decode
from plantgfm.tokenization.vocabulary import Vocabulary
from tests.fixtures import lively_bundle, random_codes, record
from tests.interop.test_esm_parity import saved
from tests.tokenization.test_esm import AGRO_NT

pytestmark = pytest.mark.interop
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

TEXTS = ["ACGTACGGCATTNACGATTACG", "ttgacca"]
CODES = random_codes(90, seed=5)


def close(ours, theirs, atol=1e-4):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def variants(folder):
    write_fasta(folder / "g.fa", [record("c", CODES)])
    rows = [f"c\t{at + 1}\t.\t{decode(CODES)[at]}\t{BASES[(CODES[at] + 1) % 4]}\t.\t.\t.\n" for at in (0, 27, 89)]
    (folder / "v.vcf").write_text("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "".join(rows))
    return folder / "v.vcf", folder / "g.fa"


def alike(ours, theirs, folder):
    """Every method gives the same."""
    for one, other in zip(ours.logits(TEXTS), theirs.logits(TEXTS)):
        assert np.ptp(one) > 1
        close(one, other)
    for one, other in zip(ours.per_base_probabilities(TEXTS), theirs.per_base_probabilities(TEXTS)):
        assert np.ptp(one) > 0.05
        close(one, other)
    for one, other in zip(ours.embed(TEXTS, pooling="base"), theirs.embed(TEXTS, pooling="base")):
        close(one, other)
    assert ours.spans(TEXTS[0], strand="reverse").tolist() == theirs.spans(TEXTS[0], strand="reverse").tolist()
    assert ours.fill("ACGTACGGNNTTACGATTN").sequence == theirs.fill("ACGTACGGNNTTACGATTN").sequence
    one, other = (model.score_variants(*variants(folder), window_bp=60) for model in (ours, theirs))
    assert one.reason == other.reason == [""] * 3 and np.abs(one.log_ratio).max() > 0.01
    for name in ("log_ratio", "log_ratio_reverse", "distance"):
        close(getattr(one, name), getattr(other, name), atol=3e-4)


def test_our_model_without_eight_mers_gives_the_same_through_transformers(tmp_path):
    ours = lively_bundle(tmp_path / "b", Vocabulary(np.zeros(0, np.uint16)))
    there = write_exchange(tmp_path / "there", ours)
    (there / "plantgfm.json").unlink()
    theirs = load(there)
    assert isinstance(theirs.encoder, TorchEncoder) and theirs.encoder.max_tokens == 64
    alike(Model(ours), theirs, tmp_path)
    with pytest.raises(ValueError, match="this model does not tell how long its windows are: give window_bp"):
        theirs.score_variants(*variants(tmp_path))
    with pytest.raises(ValueError, match="window_bp=379 is more than the 378 bp"):
        theirs.score_variants(*variants(tmp_path), window_bp=379)
    with pytest.raises(ValueError, match="makes 65 tokens, this model reads 64"):
        theirs.logits(["A" * 384])


def test_eight_mers_that_transformers_does_not_tell_of_are_refused(tmp_path):
    there = write_exchange(tmp_path / "there", lively_bundle(tmp_path / "b"))
    (there / "plantgfm.json").unlink()
    with pytest.raises(BundleError, match="tokens are 6 to 8 bases long"):
        load(there).per_base_probabilities(TEXTS)


def test_an_esm_model_gives_in_jax_what_it_gives_in_pytorch(tmp_path):
    saved(tmp_path / "esm")
    (tmp_path / "esm" / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "EsmTokenizer", "eos_token": None, "model_max_length": 32})
    )
    ours = load(tmp_path / "esm")
    assert isinstance(ours.encoder, EsmEncoder)
    theirs = Model(TorchEncoder(tmp_path / "esm"))
    assert theirs.encoder.max_tokens == ours.encoder.max_tokens == 32
    alike(ours, theirs, tmp_path)


def test_rotary_positions_are_read_in_pytorch(tmp_path):
    saved(tmp_path, position_embedding_type="rotary")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "EsmTokenizer", "eos_token": None}))
    model = load(tmp_path)
    assert isinstance(model.encoder, TorchEncoder)
    assert model.per_base_probabilities(TEXTS)[0].shape == (22, 4) and model.spans(TEXTS[0]).shape == (7, 2)


def of_single_bases(folder, *, head=True, vocabulary="[UNK] [PAD] [MASK] [CLS] [SEP] A C G T N", pattern="."):
    """A small BERT, as models of single bases are."""
    words = {word: number for number, word in enumerate(vocabulary.split())}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", words["[CLS]"]), ("[SEP]", words["[SEP]"])]
    )
    special = {
        name: f"[{name[:-6].upper()}]" for name in ("unk_token", "pad_token", "mask_token", "cls_token", "sep_token")
    }
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **special).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=70, pad_token_id=1,
    )  # fmt: skip
    model = (transformers.BertForMaskedLM if head else transformers.BertModel)(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    return model


def test_opening_says_nothing_and_leaves_the_library_as_it_was(tmp_path, capfd):
    of_single_bases(tmp_path / "bert")
    capfd.readouterr()
    transformers.utils.logging.set_verbosity_info()
    try:
        assert load(tmp_path / "bert").embed(TEXTS).shape == (2, 16)
        assert capfd.readouterr() == ("", "")
        assert transformers.utils.logging.is_progress_bar_enabled()
        assert transformers.utils.logging.get_verbosity() == transformers.utils.logging.INFO
    finally:
        transformers.utils.logging.set_verbosity_warning()


def test_a_model_of_single_bases_tells_each_for_itself(tmp_path):
    theirs = of_single_bases(tmp_path / "bert")
    model = load(tmp_path / "bert")
    assert model.encoder.max_tokens == 70  # the tokenizer tells of no limit, the positions do
    text = "ACGTNACGTT"
    ids = torch.tensor([[3, *("ACGTN".index(letter) + 5 for letter in text), 4]])
    with torch.no_grad():
        close(model.logits([text])[0], theirs(input_ids=ids).logits[0].numpy())
        (found,) = model.per_base_probabilities([text], strand="forward")
        for at in (0, 3, 9):
            hidden = ids.clone()
            hidden[0, at + 1] = 2
            close(found[at], torch.softmax(theirs(input_ids=hidden).logits[0, at + 1, 5:9], 0).numpy())
    assert model.spans(text).tolist() == [[at, at + 1] for at in range(10)]
    assert model.fill("ACGTNNACG").sequence[4:6].count("N") == 0
    scores = model.score_variants(*variants(tmp_path), window_bp=60)
    assert scores.reason == [""] * 3 and (scores.distance > 1e-5).all()
    with pytest.raises(ValueError, match="window_bp=69 is more than the 68 bp"):
        model.score_variants(*variants(tmp_path), window_bp=69)


def test_a_head_that_the_folder_lacks_is_not_drawn_at_random(tmp_path):
    of_single_bases(tmp_path / "bert", head=False)
    model = load(tmp_path / "bert")
    assert model.embed(TEXTS).shape == (2, 16)
    for ask in (model.logits, model.per_base_probabilities):
        with pytest.raises(BundleError, match="lacks parameter cls.predictions.* at random for .*MaskedLM"):
            ask(TEXTS)


def test_states_that_the_folder_lacks_are_not_drawn_at_random(tmp_path):
    from safetensors.torch import load_file, save_file

    of_single_bases(tmp_path / "bert")
    weights = tmp_path / "bert" / "model.safetensors"
    arrays = load_file(weights)
    gone = next(name for name in arrays if "layer.1.output.dense.weight" in name)
    save_file({name: value for name, value in arrays.items() if name != gone}, weights, metadata={"format": "pt"})
    with pytest.raises(BundleError, match=r"lacks parameter .*layer.1.output.dense.weight \(1 in all\)"):
        load(tmp_path / "bert")
    weights.write_bytes(b"no safetensors")
    with pytest.raises(BundleError, match="does not open in transformers"):
        load(tmp_path / "bert")


def test_what_no_state_needs_may_be_absent(tmp_path):
    from safetensors.torch import load_file, save_file

    saved(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "EsmTokenizer", "eos_token": None}))
    before = TorchEncoder(tmp_path)
    arrays = load_file(tmp_path / "model.safetensors")
    kept = {name: value for name, value in arrays.items() if "contact_head" not in name}
    assert len(kept) < len(arrays)
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    tokens = before.encode(CODES, reverse=False)[None]
    ask = {"layer": -1, "pooling": Pooling.MEAN}
    close(TorchEncoder(tmp_path).vectors(tokens, **ask), before.vectors(tokens, **ask))


def test_byte_pairs_give_vectors_and_logits_and_no_probabilities_of_bases(tmp_path):
    pairs = "[UNK] [PAD] [MASK] [CLS] [SEP] A C G T N AC GT ACG"
    of_single_bases(tmp_path / "bpe", vocabulary=pairs, pattern="ACG|AC|GT|.")
    model = load(tmp_path / "bpe")
    assert model.embed(TEXTS).shape == (2, 16) and model.logits(["ACGTAC"])[0].shape == (5, 13)
    for ask in (model.per_base_probabilities, lambda rows: model.fill(rows[0])):
        with pytest.raises(BundleError, match="tokens are 2 to 3 bases long, neither 6-mers"):
            ask(TEXTS)
    with pytest.raises(BundleError, match="does not tell which bases a token covers.*2 to 3 bases"):
        model.spans("ACGT")


def test_a_causal_model_gives_vectors_and_says_why_no_more(tmp_path):
    of_single_bases(tmp_path / "gpt")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "gpt" / name).unlink()
    config = transformers.GPT2Config(vocab_size=10, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt")
    model = load(tmp_path / "gpt")
    assert model.embed(TEXTS).shape == (2, 16)
    for ask in (model.logits, model.per_base_probabilities):
        with pytest.raises(BundleError, match="does not open in transformers: .*GPT2Config"):
            ask(TEXTS)


def test_without_a_padding_token_no_base_is_taken_for_one(tmp_path):
    theirs = of_single_bases(tmp_path / "bert", vocabulary="A C G T N [UNK] [PAD] [MASK] [CLS] [SEP]")
    settings = json.loads((tmp_path / "bert" / "tokenizer_config.json").read_text())
    settings.pop("pad_token")
    (tmp_path / "bert" / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "bert" / "special_tokens_map.json").unlink(missing_ok=True)
    model = load(tmp_path / "bert")
    assert model.encoder.pad == -1
    ids = torch.tensor([[8, 0, 0, 1, 0, 2, 9]])  # AACAG
    with torch.no_grad():
        states = theirs.bert(input_ids=ids).last_hidden_state[0, 1:-1].numpy()
    close(model.embed(["AACAG", "AACAGAACAG"])[0], states.mean(axis=0))


def test_a_folder_without_a_tokenizer_or_with_one_of_words_is_refused(tmp_path):
    of_single_bases(tmp_path / "words", vocabulary="[UNK] [PAD] [MASK] [CLS] [SEP] ACG CGT GTA", pattern=" ")
    with pytest.raises(BundleError, match="makes nothing but unknown tokens of sequence"):
        load(tmp_path / "words")
    of_single_bases(tmp_path / "bert")
    for path in (tmp_path / "bert").glob("tokenizer*"):
        path.unlink()
    with pytest.raises(BundleError, match="bert has no tokenizer"):  # transformers would make an empty one up
        load(tmp_path / "bert")


def test_ids_of_agro_nt_are_known_to_the_table(tmp_path):
    saved(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "EsmTokenizer", "eos_token": None}))
    table = TorchEncoder(tmp_path).table
    assert table.cutting.longest_bp == 6 and table.before.tolist() == [3] and table.behind.size == 0
    assert all(AGRO_NT[number] == text for number, text in zip(table.ids[4:], table.cutting.vocabulary.tokens[4:]))
