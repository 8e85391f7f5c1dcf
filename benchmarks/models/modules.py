"""The three models in PyTorch: modules, autograd and the fused Adam, eager or compiled.

Images are [n, channels, height, width].
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.models import HEADS, HIDDEN, LENGTH, STEPS_COMPARED, TOKENS, WIDTH, Params, Training
from benchmarks.workers import Task


class ResidualMLP(nn.Module):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.dense1 = nn.Linear(784, 1024)
        self.dense2 = nn.Linear(1024, 1024)
        self.dense3 = nn.Linear(1024, 10)

    def forward(self, x: Tensor) -> Tensor:
        z1 = F.relu(self.dense1(x))
        z2 = F.relu(self.dense2(z1))
        return self.dense3(z1 + z2)


class ConvNet(nn.Module):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 3, padding=1)
        self.conv2 = nn.Conv2d(20, 50, 3, padding=1)
        self.dense1 = nn.Linear(50 * 7 * 7, 500)
        self.dense2 = nn.Linear(500, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.dense2(F.relu(self.dense1(x.flatten(1))))


class Transformer(nn.Module):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, WIDTH)
        self.positions = nn.Embedding(LENGTH, WIDTH)
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.norm1 = nn.LayerNorm(WIDTH)
        self.dense1 = nn.Linear(WIDTH, HIDDEN)
        self.dense2 = nn.Linear(HIDDEN, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.out = nn.Linear(WIDTH, 2)
        self.dropout = nn.Dropout(rate)

    def attention(self, x: Tensor) -> Tensor:
        n, t, d = x.shape

        def heads(layer: nn.Linear) -> Tensor:
            return layer(x).view(n, t, HEADS, d // HEADS).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            heads(self.query), heads(self.key), heads(self.value)
        )
        return self.mix(mixed.transpose(1, 2).reshape(n, t, d))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.dropout(self.embedding(tokens) + self.positions.weight)
        x = self.norm1(x + self.dropout(self.attention(x)))
        y = self.dense2(F.relu(self.dense1(x)))
        x = self.norm2(x + self.dropout(y))
        return self.out(x.mean(1))


MODULES = {"residual_mlp": ResidualMLP, "conv_net": ConvNet, "transformer": Transformer}


def load(module: nn.Module, params: Params) -> None:
    """Give the module the parameters, in PyTorch's order of axes."""
    layers = dict(module.named_children())
    with torch.no_grad():
        for name, arrays in params.items():
            layer = layers[name]
            if isinstance(layer, nn.LayerNorm):
                weight, bias = arrays["scale"], arrays["shift"]
            else:
                weight, bias = arrays["w"], arrays.get("b")
            if isinstance(layer, nn.Conv2d):
                weight = weight.transpose(3, 2, 0, 1)
            elif isinstance(layer, nn.Linear):
                weight = weight.T
                if isinstance(module, ConvNet) and name == "dense1":
                    # Its inputs are channels of pixels here, and pixels of channels there.
                    weight = weight.reshape(-1, 7, 7, 50).transpose(0, 3, 1, 2).reshape(500, -1)
            layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
            if bias is not None:
                layer.bias.copy_(torch.from_numpy(bias))


def tensors(inputs: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    if inputs.ndim == 4:
        inputs = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
    return torch.from_numpy(inputs), torch.from_numpy(labels.astype(np.int64))


def prepare(contender: str, run: Training) -> Task:
    """A task whose call is a training step."""
    torch.manual_seed(2)
    module = MODULES[run.name](run.dropout)
    load(module, run.params)
    optimizer = torch.optim.Adam(module.parameters(), lr=run.learning_rate, fused=True)
    batches = [tensors(*batch) for batch in run.batches]
    count, first = 0, torch.tensor(0.0)

    def loss(inputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(module(inputs), labels)

    if contender == "torch_compile":
        loss = torch.compile(loss)

    def call() -> Tensor:
        nonlocal count, first
        optimizer.zero_grad(set_to_none=True)
        value = loss(*batches[count % len(batches)])
        value.backward()
        optimizer.step()
        if count == 0:
            first = value.detach()
        count += 1
        return value

    def losses() -> dict[str, np.ndarray]:
        """Those of the first steps: the one taken before, and the next."""
        assert count == 1, "steps have been taken"
        return {
            "losses": np.array([first.item(), *(call().item() for _ in range(STEPS_COMPARED - 1))])
        }

    return Task(call, losses)
