"""The text networks: the encoder beside torch's layers, the LSTM's shared matrix."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from qstudy.models import text
from qstudy.models.encoder import Encoder, EncoderShape, from_bert

SHAPE = EncoderShape(vocabulary=50, width=24, layers=2, heads=4, inner=40, longest=16)


def test_a_layer_is_that_of_torch():
    torch.manual_seed(0)
    layer = Encoder(SHAPE).layers[0].eval()
    other = nn.TransformerEncoderLayer(
        24, 4, 40, activation="gelu", batch_first=True, layer_norm_eps=1e-12
    ).eval()
    with torch.no_grad():
        parts = (layer.query, layer.key, layer.value)
        other.self_attn.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
        other.self_attn.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
        other.self_attn.out_proj.load_state_dict(layer.output.state_dict())
        other.linear1.load_state_dict(layer.up.state_dict())
        other.linear2.load_state_dict(layer.down.state_dict())
        other.norm1.load_state_dict(layer.attention_norm.state_dict())
        other.norm2.load_state_dict(layer.norm.state_dict())
        x = torch.randn(3, 7, 24)
        mask = torch.ones(3, 7, dtype=torch.bool)
        mask[1, 4:] = False
        found = layer(x, mask[:, None, None, :])
        wanted = other(x, src_key_padding_mask=~mask)
    torch.testing.assert_close(found[mask], wanted[mask], rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing_and_vectors_have_length_one():
    torch.manual_seed(0)
    model = Encoder(SHAPE).eval()
    ids = torch.randint(0, 50, (2, 9))
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, 5:] = False
    with torch.inference_mode():
        batch, alone = model(ids, mask), model(ids[:1, :5])
    torch.testing.assert_close(batch[:1], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(batch.norm(dim=1), torch.ones(2))


def test_bert_names_load_strictly():
    model = Encoder(SHAPE)
    renamed = {
        "embeddings.word_embeddings.weight": model.token_embedding.weight,
        "encoder.layer.1.attention.self.query.bias": model.layers[1].query.bias,
        "encoder.layer.1.attention.output.dense.bias": model.layers[1].output.bias,
        "encoder.layer.0.intermediate.dense.weight": model.layers[0].up.weight,
        "encoder.layer.0.output.dense.weight": model.layers[0].down.weight,
        "encoder.layer.0.output.LayerNorm.weight": model.layers[0].norm.weight,
        "pooler.dense.weight": torch.zeros(1),
        "embeddings.position_ids": torch.zeros(1),
    }
    own = model.state_dict()
    found = from_bert(renamed)
    assert len(found) == 6 and all(own[n].shape == t.shape for n, t in found.items())


@pytest.mark.parametrize("name", ["tiny_lstm", "tiny_encoder"])
@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (torch.zeros(1, 0, dtype=torch.int64), "the sequence is empty"),
        (torch.tensor([[100_000]]), "token ids from 100000 to 100000"),
        (torch.tensor([[-1, 2]]), "token ids from -1 to 2"),
        (torch.zeros(3, dtype=torch.int64), "int64"),
        (torch.zeros(1, 3), "float32"),
    ],
)
def test_sequences_that_no_model_can_read_are_named(name, ids, said):
    with pytest.raises(ValueError, match=said):
        text.build(name)(ids)


def test_a_sequence_beyond_the_positions_is_named():
    ids = torch.zeros(1, 17, dtype=torch.int64)
    with pytest.raises(ValueError, match="17 tokens: 16 is the longest"):
        Encoder(SHAPE)(ids)


def test_the_shared_matrix_is_stored_once_and_comes_back(tmp_path):
    model = text.build("tiny_lstm", seed=1)
    stored = text.stored(model)
    assert "output.weight" not in stored and "embedding.weight" in stored
    save_file(stored, tmp_path / "lstm.safetensors")
    again = text.build("tiny_lstm", seed=2)
    text.load_weights(again, tmp_path / "lstm.safetensors")
    ids = torch.arange(12)[None]
    assert torch.equal(model.eval()(ids)[0], again.eval()(ids)[0])
    assert again.output.weight is again.embedding.weight
    with pytest.raises(ValueError, match="does not fit Sequential"):
        text.load_weights(text.build("tiny_mlp"), tmp_path / "lstm.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(ValueError, match="is damaged"):
        text.load_weights(again, tmp_path / "cut.safetensors")
    with pytest.raises(FileNotFoundError, match="train it, or copy it"):
        text.load_weights(again, tmp_path / "none.safetensors")


def test_the_state_is_carried_from_one_window_to_the_next():
    model = text.build("tiny_lstm").eval()
    ids = torch.arange(20)[None]
    whole, _ = model(ids)
    first, state = model(ids[:, :8])
    second, _ = model(ids[:, 8:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)


def test_building_is_by_name_and_seed():
    assert sum(p.numel() for p in text.build("lstm").parameters()) * 4 < 16e6
    one, other = (text.build("tiny_mlp", seed=s)[0].weight for s in (0, 1))
    assert not torch.equal(one, other)
    with pytest.raises(ValueError, match="model 'gpt' is not one of"):
        text.build("gpt")
