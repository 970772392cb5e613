from __future__ import annotations

import torch
from torch import Tensor

from engine.pipelines.switching import Graph, Shapes, SwitchingDecoder, SwitchingNetwork


class SlowForge:
    """Has a graph ready only when told so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Shapes]] = []
        self.graph: Graph | None = None

    def ready(self, name: str, shapes: Shapes) -> Graph | None:
        self.asked.append((name, shapes))
        return self.graph

    def wait(self, timeout: float) -> bool:
        return True


def eager(x: Tensor, shifts: Tensor, keys_values: Tensor, deep: Tensor | None = None) -> tuple[Tensor, Tensor]:
    return x + 1, x if deep is None else deep


X, REST = torch.zeros(2, 4, 8, 8), (torch.zeros(2, 3), torch.zeros(2, 5))


def test_eager_serves_until_the_graph_is_ready() -> None:
    forge = SlowForge()
    network = SwitchingNetwork(eager, forge, patience=0)
    assert float(network(X, *REST)[0].mean()) == 1
    forge.graph = lambda x, *_: (x + 7, x + 8)
    answer, deep = network(X, *REST)
    assert (float(answer.mean()), float(deep.mean())) == (7, 8)


def test_steps_on_features_are_a_graph_of_their_own() -> None:
    forge = SlowForge()
    forge.graph = lambda x, *_: (x + 7,)
    network = SwitchingNetwork(eager, forge, patience=0)
    features = torch.ones(2, 9, 8, 8)
    answer, deep = network(X, *REST, features)
    assert deep is features
    assert float(answer.mean()) == 7
    assert forge.asked == [("shallow", (X.shape, REST[0].shape, REST[1].shape, features.shape))]


def test_nothing_is_compiled_for_a_process_that_draws_little() -> None:
    forge = SlowForge()
    network, decoder = SwitchingNetwork(eager, forge, patience=3), SwitchingDecoder(lambda x: x, forge, patience=3)
    for _ in range(3):
        network(X, *REST)
        decoder(X)
    assert forge.asked == []
    network(X, *REST)
    decoder(X)
    assert [name for name, _ in forge.asked] == ["full", "decoder"]


def test_a_decoder_switches_too() -> None:
    forge = SlowForge()
    decoder = SwitchingDecoder(lambda x: x, forge, patience=0)
    assert float(decoder(X).mean()) == 0
    forge.graph = lambda x: (x + 2,)
    assert float(decoder(X).mean()) == 2
