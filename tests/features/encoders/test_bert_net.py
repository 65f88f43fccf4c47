from __future__ import annotations

import pytest
import torch

from components.contracts.atomic import read_json
from components.features.encoders.bert_net import bert_from_checkpoint
from components.features.encoders.minilm import MiniLm
from components.runtime.weights import weight_file


def test_it_is_the_network_of_transformers() -> None:
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel, BertTokenizerFast

    config = read_json(weight_file("minilm-config"))
    weights = load_file(weight_file("minilm-weights"))
    reference = BertModel(BertConfig(**config), add_pooling_layer=False).eval()
    wanted = reference.state_dict().keys()
    reference.load_state_dict({name: weights[name] for name in wanted})
    ours = bert_from_checkpoint(config, weights)
    tokenizer = BertTokenizerFast(tokenizer_file=str(weight_file("minilm-tokenizer")))
    own = MiniLm()._parts()[1]
    for text in ("no", "this was the worst holiday ever", "unfathomable " * 120):
        tokens = tokenizer(text, return_tensors="pt")
        assert own.encode(text).ids == tokens["input_ids"][0].tolist()
        with torch.inference_mode():
            torch.testing.assert_close(
                ours(tokens["input_ids"]), reference(**tokens).last_hidden_state, rtol=1e-4, atol=1e-5
            )


def test_a_checkpoint_of_another_size_is_not_taken() -> None:
    from safetensors.torch import load_file

    config = read_json(weight_file("minilm-config"))
    with pytest.raises(RuntimeError, match="size mismatch"):
        bert_from_checkpoint({**config, "intermediate_size": 8}, load_file(weight_file("minilm-weights")))
