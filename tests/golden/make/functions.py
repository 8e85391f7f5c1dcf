"""Activations, products and unpooling as PyTorch computes them, in float64; and what it has not.

Of the latter the formulas are written down here. Run with PyTorch and torchvision; writes
tests/golden/functions.npz. Of each case there are the inputs by their names, `out`, and after
`grad/` the gradients of sum(out * cos(0, 1, 2, ...)). Channels are last. All floats are one array
there, and all integers another, in the order of their names, each with its shape: many small
arrays would take ten times their size.
"""

from pathlib import Path

import numpy as np
import torch
import torchvision
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)
found = {}
rng = np.random.default_rng(0)
SMOOTH = np.round(rng.normal(size=(5, 6)) * 2.5, 3)
# With the points where functions with thresholds change.
KINKS = np.array([-8, -3.1, -1, -0.5, -0.3, 0, 0.3, 0.5, 1, 2.9, 6, 7])


def numbers(*shape):
    return np.round(rng.normal(size=shape), 3)


def record(case, function, **inputs):
    tensors = {k: torch.tensor(v) for k, v in inputs.items()}
    for t in tensors.values():
        t.requires_grad_(t.is_floating_point())
    out = function(*tensors.values())
    weights = torch.cos(torch.arange(out.numel(), dtype=out.dtype)).reshape(out.shape)
    (out * weights).sum().backward()
    found.update({f"{case}/{k}": v for k, v in inputs.items()})
    found[f"{case}/out"] = out.detach().numpy()
    for k, t in tensors.items():
        if t.requires_grad:
            found[f"{case}/grad/{k}"] = t.grad.numpy()


SMOOTH_CASES = {
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
    "log_sigmoid": F.logsigmoid,
    "silu": F.silu,
    "mish": F.mish,
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_exact": F.gelu,
    "softplus": F.softplus,
    "softplus_beta": lambda x: F.softplus(x, 0.7),
    "softsign": F.softsign,
    "tanhshrink": F.tanhshrink,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "leaky_relu_slope": lambda x: F.leaky_relu(x, 0.3),
    "elu": F.elu,
    "elu_alpha": lambda x: F.elu(x, 0.7),
    "selu": F.selu,
    "celu": F.celu,
    "celu_alpha": lambda x: F.celu(x, 0.5),
    "hard_sigmoid": F.hardsigmoid,
    "hard_silu": F.hardswish,
    "rrelu": F.rrelu,
    "rrelu_bounds": lambda x: F.rrelu(x, 0.1, 0.5),
    "glu": F.glu,
    "glu_axis": lambda x: F.glu(x[:4], 0),
    "softmax": lambda x: F.softmax(x, -1),
    "softmax_axis": lambda x: F.softmax(x, 0),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "log_softmax_axis": lambda x: F.log_softmax(x, 0),
    "softmin": lambda x: F.softmin(x, -1),
    "softmin_axis": lambda x: F.softmin(x, 0),
    "logsumexp": lambda x: torch.logsumexp(x, -1),
    "standardize": lambda x: F.layer_norm(x, (6,)),
}
KINK_CASES = {
    "relu6": F.relu6,
    "hardtanh": F.hardtanh,
    "hardtanh_bounds": lambda x: F.hardtanh(x, -0.3, 6.0),
    "hardshrink": F.hardshrink,
    "hardshrink_threshold": lambda x: F.hardshrink(x, 0.3),
    "softshrink": F.softshrink,
    "softshrink_threshold": lambda x: F.softshrink(x, 0.3),
    "threshold": lambda x: F.threshold(x, 0.3, -1.5),
}
for name, function in SMOOTH_CASES.items():
    record(name, function, x=SMOOTH)
for name, function in KINK_CASES.items():
    record(name, function, x=KINKS)
record("prelu", lambda x, slope: F.prelu(x, slope[None]), x=KINKS, slope=np.array(0.3))
record("prelu_channels", lambda x, slope: F.prelu(x.movedim(-1, 1), slope).movedim(1, -1),
       x=numbers(2, 3, 4), slope=numbers(4))  # fmt: skip
record("linear", lambda x, kernel, bias: F.linear(x, kernel.T, bias), x=numbers(2, 3, 4),
       kernel=numbers(4, 5), bias=numbers(5))  # fmt: skip
record("bilinear", lambda x1, x2, kernel, bias: F.bilinear(x1, x2, kernel.movedim(-1, 0), bias),
       x1=numbers(2, 3, 4), x2=numbers(2, 3, 2), kernel=numbers(4, 2, 5),
       bias=numbers(5))  # fmt: skip
indices = np.array([[0, 2, 1], [2, 4, 2]])
record("tied", lambda x, table: F.linear(torch.tanh(F.embedding(x, table)), table), x=indices,
       table=numbers(5, 3))  # fmt: skip


def unpool(rank, size, **options):
    """Of maxima with repeated places, as overlapping windows have them."""
    pooled = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[rank - 1]
    unpooled = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[rank - 1]
    x, indices = pooled(torch.tensor(numbers(1, 2, *size)), **options, return_indices=True)

    def run(x, indices):
        front = unpooled(x.movedim(-1, 1), indices.movedim(-1, 1), **options, output_size=size)
        return front.movedim(1, -1)

    last = {"x": x.movedim(1, -1).numpy(), "indices": indices.movedim(1, -1).numpy()}
    record(f"max_unpool_{rank}d", run, **last)


def deformed(**options):
    """Channels come first there."""

    def run(x, offset, kernel, bias=None, mask=None):
        front = [a if a is None else a.movedim(-1, 1) for a in (x, offset, mask)]
        y = torchvision.ops.deform_conv2d(
            front[0], front[1], kernel.permute(3, 2, 0, 1), bias, mask=front[2], **options
        )
        return y.movedim(1, -1)

    return run


# Some places are outside, by less than a pixel and by more.
record("deform_conv2d", deformed(), x=numbers(1, 4, 3, 2), offset=numbers(1, 3, 2, 8),
       kernel=numbers(2, 2, 2, 3))  # fmt: skip
record("deform_conv2d_options", deformed(stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
       x=numbers(2, 4, 4, 4), offset=2 * numbers(2, 3, 4, 24), kernel=numbers(2, 3, 2, 4),
       bias=numbers(4), mask=numbers(2, 3, 4, 12))  # fmt: skip
unpool(1, (7,), kernel_size=3, stride=3, padding=1)
unpool(2, (5, 6), kernel_size=2)
unpool(3, (4, 5, 2), kernel_size=2)

# What PyTorch has not


def swiglu(x, gate, value, out):
    return (F.silu(x @ gate) * (x @ value)) @ out


record("swiglu", swiglu, **{"x": numbers(2, 3), "params/gate/kernel": numbers(3, 4),
       "params/value/kernel": numbers(3, 4), "params/out/kernel": numbers(4, 3)})  # fmt: skip


def turned(x, base, interleaved):
    """Pairs as complex numbers: to turn one is a product."""
    time, _, depth = x.shape[1:]
    frequencies = base ** (-torch.arange(0, depth, 2) / depth)
    angles = torch.arange(time)[:, None, None] * frequencies
    pairs = x.unflatten(-1, (-1, 2) if interleaved else (2, -1))
    pairs = pairs if interleaved else pairs.mT
    both = torch.view_as_complex(pairs.contiguous()) * torch.exp(1j * angles)
    real = torch.view_as_real(both)
    return (real if interleaved else real.mT).flatten(-2)


record("rotary", lambda x: turned(x, 10000.0, True), x=numbers(2, 3, 2, 4))
record("rotary_halves", lambda x: turned(x, 50.0, False), x=numbers(2, 3, 1, 6))


def encoded(x):
    time, features = x.shape[-2:]
    angles = torch.arange(time)[:, None] / 10000 ** (torch.arange(0, features, 2) / features)
    return x + torch.stack([torch.sin(angles), torch.cos(angles)], -1).flatten(-2)


record("sinusoidal", encoded, x=numbers(2, 5, 4))
record("learned", lambda x, table: x + table[:3], **{"x": numbers(2, 3, 4), "params/table":
       numbers(5, 4)})  # fmt: skip


def local(x, kernel, bias):
    """A matrix for each place; a patch has the numbers of the first channel first."""
    patches = torch.stack([x[:, i : i + 2, j : j + 3] for i in (0, 1) for j in (0, 1)], -1)
    return torch.einsum("nhwp,hwpf->nhwf", patches.flatten(-2), kernel) + bias


record("local", local, **{"x": numbers(1, 3, 4, 2), "params/kernel": numbers(2, 3, 8, 2),
       "params/bias": numbers(2, 3, 2)})  # fmt: skip


def separable(x, depthwise, pointwise, bias):
    """Kernels are (*window, channels of a group, features)."""
    hidden = F.conv2d(x.movedim(-1, 1), depthwise.permute(3, 2, 0, 1), groups=2)
    return F.conv2d(hidden, pointwise.permute(3, 2, 0, 1), bias).movedim(1, -1)


record("separable", separable, **{"x": numbers(1, 3, 4, 2), "params/depthwise/kernel":
       numbers(2, 2, 1, 4), "params/pointwise/kernel": numbers(1, 1, 4, 3),
       "params/pointwise/bias": numbers(3)})  # fmt: skip


def repeated(x, kernel, bias):
    for k, b in zip(kernel, bias, strict=True):
        x = torch.tanh(x @ k + b)
    return x


record("repeated", repeated, **{"x": numbers(2, 3), "params/layer/0/kernel": numbers(3, 3, 3),
       "params/layer/0/bias": numbers(3, 3)})  # fmt: skip


def tower(x, kernel, bias):
    """A residual, a tanh, and a product of two branches; both linear layers are one."""
    hidden = torch.tanh(x + x @ kernel + bias)
    return (hidden @ kernel + bias) * hidden


record("tower", tower, **{"x": numbers(2, 3), "params/shared/twin/kernel": numbers(3, 3),
       "params/shared/twin/bias": numbers(3)})  # fmt: skip
record("log1mexp", lambda x: torch.log(-torch.expm1(-x)), x=np.abs(numbers(6)) + 0.1)
record("squareplus", lambda x, b: (x + torch.sqrt(x * x + b)) / 2, x=numbers(6), b=np.array(3.0))
record("standardize_given", lambda x, mean, variance: (x - mean) / torch.sqrt(variance + 0.1),
       x=numbers(3, 4), mean=numbers(3, 1), variance=np.abs(numbers(3, 1)))  # fmt: skip
WHERE = np.array([[True, False, True, True], [False, True, True, True]])


def among(x):
    """Those that count, the others minus infinity."""
    return torch.where(torch.tensor(WHERE), x, -torch.inf)


record("softmax_where", lambda x: torch.softmax(among(x), -1), x=numbers(2, 4))
record("logsumexp_where", lambda x: torch.logsumexp(among(x), -1), x=numbers(2, 4))
record("logmeanexp_where", lambda x: torch.logsumexp(among(x), -1) - np.log(3), x=numbers(2, 4))


def attention(seen, queries=None, **options):
    """Where each query is `seen`; a query that sees nothing, and is beyond the lengths, gives 0."""

    def run(q, k, v, bias=None):
        k, v = (x.repeat_interleave(q.shape[2] // x.shape[2], 2) for x in (k, v))
        scores = torch.einsum("btnh,bsnh->bnts", q, k) * options.get("scale", q.shape[-1] ** -0.5)
        scores = scores if bias is None else scores + bias
        scores = torch.where(torch.tensor(seen), scores, -1e30)
        y = torch.einsum("bnts,bsnh->btnh", torch.softmax(scores, -1), v)
        return y if queries is None else y * torch.tensor(queries)[..., None, None]

    return run


T = np.arange(5)
CAUSAL = T[:, None] >= T
NEAR = (T[:, None] - T <= 2) & (T - T[:, None] <= 1)
KNOWN = (np.array([[4], [3]]) > T)[:, None, None]
ASKED = np.array([[3], [5]]) > T
GIVEN = {"q": numbers(2, 5, 4, 3), "k": numbers(2, 5, 2, 3), "v": numbers(2, 5, 2, 3)}
for name, seen, queries, options in (
    ("lengths", KNOWN, ASKED, {}),
    ("causal_lengths", KNOWN & CAUSAL, ASKED, {}),
    ("window", NEAR, None, {}),
    ("narrow_window", CAUSAL & (T[:, None] - T <= 1), None, {"scale": 0.5}),
):
    record(f"attention_{name}", attention(seen, queries, **options), **GIVEN)
record("attention_bias_window", attention(NEAR), **GIVEN, bias=numbers(1, 4, 5, 5))


def residual(q, k):
    """No derivative goes through it, as in JAX."""
    scores = torch.einsum("btnh,bsnh->btns", q, k) * 0.5
    return torch.logsumexp(scores, -1).detach() + 0 * (q.sum() + k.sum())


record("attention_residual", residual, q=numbers(2, 5, 4, 3), k=numbers(2, 5, 4, 3))

path = Path(__file__).parents[1] / "functions.npz"
flat = {}
for kind in "fi":
    arrays = {k: v for k, v in found.items() if v.dtype.kind == kind}
    flat[f"{kind}_values"] = np.concatenate([v.ravel() for v in arrays.values()])
    flat[f"{kind}_names"] = np.array(
        "\n".join(f"{k}:{' '.join(map(str, v.shape))}" for k, v in arrays.items())
    )
np.savez_compressed(path, **flat)
print(len(found), "arrays,", path.stat().st_size, "bytes")
