"""Small models with code of their own, as other people publish them: what `forward` takes and gives differs.

A test copies this file into a folder; transformers runs it there. Nothing of it is the code of those models.
"""

import torch
from torch import nn
from transformers import BertConfig, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput


class StrandedConfig(PretrainedConfig):
    """Caduceus: neither hidden_size nor num_hidden_layers."""

    model_type = "stranded"

    def __init__(self, d_model=6, n_layer=2, vocab_size=8, **kwargs):
        super().__init__(**kwargs)
        self.d_model, self.n_layer, self.vocab_size = d_model, n_layer, vocab_size


class Stranded(PreTrainedModel):
    """Caduceus: no mask, states of both strands side by side, and no `post_init`, which transformers 5 asks for."""

    config_class, base_model_prefix = StrandedConfig, "stranded"

    def __init__(self, config):
        super().__init__(config)
        self.table = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(nn.Linear(config.d_model, config.d_model) for _ in range(config.n_layer))
        self.register_buffer("complement", torch.tensor([0, 1, 2, 6, 5, 4, 3, 7]), persistent=False)

    def one_strand(self, ids):
        found = [self.table(ids)]
        for layer in self.layers:
            x = found[-1]
            scanned = torch.cumsum(x, 1) + 0.5 * torch.cumsum(x.flip(1), 1).flip(1)  # padding is scanned, too
            found.append(x + torch.tanh(layer(scanned)))
        return found

    def forward(self, input_ids=None, inputs_embeds=None, output_hidden_states=None, return_dict=None):
        there = self.one_strand(input_ids)
        back = self.one_strand(self.complement.to(input_ids.device)[input_ids].flip(1))
        states = [torch.cat([x, y.flip(1, 2)], -1) for x, y in zip(there, back)]
        return BaseModelOutput(last_hidden_state=states[-1], hidden_states=states if output_hidden_states else None)


class StrandedForMaskedLM(PreTrainedModel):
    """Caduceus: `tie_weights` takes no argument, as in transformers 4, and its head has no parameter of its own."""

    config_class, base_model_prefix = StrandedConfig, "stranded"

    def __init__(self, config):
        super().__init__(config)
        self.stranded = Stranded(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def tie_weights(self):
        self.lm_head.weight = self.stranded.table.weight

    def forward(self, input_ids=None, inputs_embeds=None, output_hidden_states=None, return_dict=None):
        found = self.stranded(input_ids, output_hidden_states=output_hidden_states, return_dict=return_dict)
        return MaskedLMOutput(logits=self.lm_head(found.last_hidden_state[..., : self.config.d_model]))


class PairedConfig(BertConfig):
    """DNABERT-2: the model names transformers' own class as its `config_class`, not this one."""


class Paired(PreTrainedModel):
    """DNABERT-2: a tuple, no states of layers, and arguments that it does not know are swallowed."""

    config_class, base_model_prefix = BertConfig, "bert"

    def __init__(self, config, add_pooling_layer=True):
        super().__init__(config)
        self.table = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layer = nn.Linear(config.hidden_size, config.hidden_size)
        self.post_init()

    def forward(self, input_ids, token_type_ids=None, attention_mask=None, output_all_encoded_layers=False, **kwargs):
        seen = attention_mask[..., None].float()
        x = self.table(input_ids)
        x = x + torch.tanh(self.layer((x * seen).sum(1, keepdim=True)))
        return x, torch.tanh(x[:, 0])


class RotaryConfig(PretrainedConfig):
    """Nucleotide Transformer v2: calls itself ESM."""

    model_type = "esm"

    def __init__(self, hidden_size=6, num_hidden_layers=1, vocab_size=4107, max_position_embeddings=50, **kwargs):
        super().__init__(**kwargs)
        self.hidden_size, self.num_hidden_layers, self.vocab_size = hidden_size, num_hidden_layers, vocab_size
        self.max_position_embeddings = max_position_embeddings


class Rotary(PreTrainedModel):
    config_class, base_model_prefix = RotaryConfig, "esm"

    def __init__(self, config):
        super().__init__(config)
        self.table = nn.Embedding(config.vocab_size, config.hidden_size)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, output_hidden_states=None, return_dict=None):
        x = self.table(input_ids)
        y = x + (x * attention_mask[..., None]).sum(1, keepdim=True)
        return BaseModelOutput(last_hidden_state=y, hidden_states=(x, y) if output_hidden_states else None)


class RotaryForMaskedLM(PreTrainedModel):
    """Nucleotide Transformer v2: the only class that `auto_map` names."""

    config_class, base_model_prefix = RotaryConfig, "esm"

    def __init__(self, config):
        super().__init__(config)
        self.esm, self.head = Rotary(config), nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, output_hidden_states=None, return_dict=None):
        found = self.esm(input_ids, attention_mask, output_hidden_states, return_dict)
        return MaskedLMOutput(logits=self.head(found.last_hidden_state), hidden_states=found.hidden_states)
