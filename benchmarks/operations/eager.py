"""The operations in PyTorch, eager or compiled, with the functions that it has for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.operations.items import Conv, Item
from benchmarks.workers import Skip, Task


def axpy(x: Tensor, y: Tensor) -> Tensor:
    return torch.add(y, x, alpha=1.5)


def gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def gate(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    weight = torch.sigmoid(x)
    return weight * F.relu(y) + (1 - weight) * torch.tanh(z)


def sum_all(x: Tensor) -> Tensor:
    return x.sum()


def sum_rows(x: Tensor) -> Tensor:
    return x.sum(1)


def sum_columns(x: Tensor) -> Tensor:
    return x.sum(0)


def max_rows(x: Tensor) -> Tensor:
    return x.amax(1)


def variance_rows(x: Tensor) -> Tensor:
    return x.var(1, correction=0)


def softmax(x: Tensor) -> Tensor:
    return F.softmax(x, -1)


def logsumexp(x: Tensor) -> Tensor:
    return torch.logsumexp(x, -1)


def layer_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], scale, shift)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels)


def product(x: Tensor, y: Tensor, *, how: str) -> Tensor:
    left, right = how.split("->")[0].split(",")
    return torch.matmul(x.T if left == "km" else x, y.T if right == "nk" else y)


def convolution(x: Tensor, w: Tensor, *, conv: Conv, layout: str) -> Tensor:
    c = conv
    if c.transposed:
        return F.conv_transpose2d(x, w, stride=c.stride, padding=c.padding)
    return F.conv2d(x, w, None, c.stride, c.padding, c.dilation, c.groups)


def rnn(xs: Tensor, h: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Tensor:
    states = []
    for x in xs:
        h = torch.tanh(x @ w + h @ u + b)
        states.append(h)
    return torch.stack(states)


def gru(xs: Tensor, h: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Tensor:
    states = []
    for x in xs:
        xr, xz, xn = (x @ w + b).chunk(3, -1)
        hr, hz, hn = (h @ u).chunk(3, -1)
        z = torch.sigmoid(xz + hz)
        h = (1 - z) * torch.tanh(xn + torch.sigmoid(xr + hr) * hn) + z * h
        states.append(h)
    return torch.stack(states)


def to_torch(item: Item, operands: Sequence[np.ndarray]) -> list[Tensor]:
    """The operands as PyTorch has them: 64-bit indices, its order of axes for convolutions."""
    if item.function == "convolution":
        return [images(item, operands[0]), kernels(item, operands[1]), *cotangent(item, operands)]
    wide = [x.astype(np.int64) if x.dtype == np.int32 else x for x in operands]
    return [torch.from_numpy(np.array(x)) for x in wide]


def cotangent(item: Item, operands: Sequence[np.ndarray]) -> list[Tensor]:
    return [images(item, x) for x in operands[2:]]


def images(item: Item, x: np.ndarray) -> Tensor:
    """Channels come first in the shape; in memory they stay where they are."""
    tensor = torch.from_numpy(np.array(x))
    return tensor.permute(0, 3, 1, 2) if item.params["layout"] == "NHWC" else tensor


def kernels(item: Item, w: np.ndarray) -> Tensor:
    """[outputs, inputs, h, w], or [inputs, outputs, h, w] and turned if transposed."""
    nhwc = item.params["layout"] == "NHWC"
    tensor = torch.from_numpy(np.array(w))
    if nhwc:
        tensor = tensor.permute(3, 2, 0, 1)
    if item.params["conv"].transposed:
        tensor = tensor.transpose(0, 1).flip(2, 3)
    order = torch.channels_last if nhwc else torch.contiguous_format
    return tensor.contiguous(memory_format=order)


def from_torch(item: Item, outputs: Sequence[Tensor]) -> dict[str, np.ndarray]:
    """The results in the order of axes that the others have."""
    tensors = [x.detach() for x in outputs]
    if item.function == "convolution":
        nhwc = item.params["layout"] == "NHWC"
        if item.params["conv"].transposed and len(tensors) == 3:
            tensors[2] = tensors[2].transpose(0, 1).flip(2, 3)
        if nhwc:
            tensors[:2] = [x.permute(0, 2, 3, 1) for x in tensors[:2]]
            tensors[2:] = [x.permute(2, 3, 1, 0) for x in tensors[2:]]
    return {str(i): x.numpy() for i, x in enumerate(tensors)}


def adam_task(operands: Sequence[np.ndarray]) -> Task:
    """Steps of the fused optimizer, which writes into what it has; the first is the hundredth."""
    p, g, mean, square = (torch.from_numpy(np.array(x)) for x in operands)
    p.requires_grad_()
    p.grad = g
    optimizer = torch.optim.Adam([p], lr=1e-3, fused=True)
    step = torch.tensor(99.0)
    optimizer.state[p] = {"step": step, "exp_avg": mean, "exp_avg_sq": square}
    first: list[np.ndarray] = []

    def call() -> None:
        optimizer.step()
        if not first:
            first.extend(x.detach().numpy().copy() for x in (p, mean, square))

    return Task(call, lambda: {str(i): x for i, x in enumerate(first)})


def prepare(contender: str, item: Item, operands: Sequence[np.ndarray]) -> Task:
    if item.function == "adam":
        if contender == "torch_compile":
            raise Skip("the same as in torch")
        return adam_task(operands)
    f: Callable[..., Any] | None = globals().get(item.function)
    if f is None or item.group in ("loop", "random"):
        raise Skip("not in PyTorch")

    def value(*tensors: Tensor) -> Any:
        return f(*tensors, **item.params)

    if contender == "torch_compile":
        value = torch.compile(value, dynamic=False)
    tensors = to_torch(item, operands)
    if not item.grads:

        def forward() -> list[Tensor]:
            with torch.no_grad():
                return [value(*tensors)]

        return Task(forward, lambda: from_torch(item, forward()))

    *inputs, ct = tensors
    wanted = inputs[: item.grads]
    for x in wanted:
        x.requires_grad_()

    def both() -> list[Tensor]:
        out = value(*inputs)
        return [out, *torch.autograd.grad(out, wanted, ct)]

    return Task(both, lambda: from_torch(item, both()))
