"""The text networks as they are served answer as those that check and count."""

import pytest
import torch

from qstudy.models import served, text


def test_the_next_word_is_the_last_of_the_lstm_s():
    lstm = text.build("tiny_lstm").eval()
    ids = torch.randint(200, (3, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, _ = lstm(ids)
        assert torch.allclose(served.NextWord(lstm)(ids), logits[:, -1], atol=1e-6)


def test_a_sentence_has_the_encoder_s_vector():
    encoder = text.build("tiny_encoder").eval()
    ids = torch.randint(300, (3, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = served.Sentence(encoder, length=12)(ids)
        assert torch.allclose(found, encoder(ids), atol=1e-6)


@pytest.mark.parametrize("length", [0, 129])
def test_a_length_without_positions_is_refused(length):
    with pytest.raises(ValueError, match=f"length {length} is outside 1 to 128"):
        served.Sentence(text.build("tiny_encoder"), length=length)


def test_every_served_network_has_a_function_and_a_vocabulary():
    for name in served.NAMES:
        network = getattr(served, name)()
        words = network.model.get_submodule(
            {"lstm": "embedding", "minilm": "token_embedding"}[name]
        )
        assert words.num_embeddings == served.vocabulary(name)
        assert not network.training
    with pytest.raises(ValueError, match="model 'bert' is not one of"):
        served.vocabulary("bert")
