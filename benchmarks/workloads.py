"""Models that are compiled in the benchmarks, each with the calls that compile it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

Calls = Sequence[Callable[[], object]]


def mlp() -> Calls:
    layers = [torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64)]
    model = torch.compile(torch.nn.Sequential(*layers))
    x = torch.randn(8, 64)
    return [lambda: model(x)]


def encoder() -> Calls:
    layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    model = torch.compile(torch.nn.TransformerEncoder(layer, 4, enable_nested_tensor=False))
    x = torch.randn(2, 16, 64)
    return [lambda: model(x)]


def language_model() -> Calls:
    """A Llama with three static shapes, each compiled separately."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=128,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    model = LlamaForCausalLM(config).eval()
    run = torch.compile(model.model, dynamic=False)
    shapes = [torch.ones(1, length, dtype=torch.long) for length in (16, 24, 32)]
    return [lambda ids=ids: run(input_ids=ids, use_cache=False) for ids in shapes]


def llava() -> Calls:
    """The demo of the service: encoder and language model, two prompt lengths."""
    from compilespan_service.demo import LlavaDemo

    demo = LlavaDemo()
    demo.load()
    return [lambda tokens=tokens: demo.run({"tokens": tokens}) for tokens in (16, 48)]


def graph_breaks() -> Calls:
    """Three frames, with real execution between them."""

    def broken(x):
        y = (x @ x).relu()
        torch._dynamo.graph_break()
        z = (y @ y).sin()
        torch._dynamo.graph_break()
        return (z @ z).cos()

    model = torch.compile(broken)
    x = torch.randn(32, 32)
    return [lambda: model(x)]


WORKLOADS: dict[str, Callable[[], Calls]] = {
    "mlp": mlp,
    "encoder": encoder,
    "language_model": language_model,
    "llava": llava,
    "graph_breaks": graph_breaks,
}
