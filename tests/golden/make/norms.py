"""Normalization and embeddings as PyTorch computes them, in float64.

Run with PyTorch; writes tests/golden/norms.npz. Of each case there are the inputs by their names,
`out`, and after `grad/` the gradients of sum(out * cos(0, 1, 2, ...)). Channels are last.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)
found = {}
rng = np.random.default_rng(0)


def numbers(*shape):
    return np.round(rng.normal(size=shape), 3)


tracked = {
    "x": np.arange(24.0).reshape(2, 4, 3) ** 2 % 7,
    "mean": np.array([1.0, -0.5, 2.0]),
    "var": np.array([0.5, 2.0, 1.0]),
    "scale": np.array([1.5, -1.0, 0.5]),
    "bias": np.array([0.1, 0.2, 0.3]),
}


def record(case, function, held=(), **inputs):
    """Inputs named in `held` have no gradient."""
    tensors = {k: torch.tensor(v) for k, v in inputs.items()}
    for k, t in tensors.items():
        t.requires_grad_(k not in held and t.is_floating_point())
    out = function(**tensors)
    extras = {}
    if isinstance(out, tuple):
        out, extras = out
    (
        out * torch.cos(torch.arange(out.numel(), dtype=out.dtype)).reshape(out.shape)
    ).sum().backward()
    found.update({f"{case}/{k}": v for k, v in inputs.items()})
    found[f"{case}/out"] = out.detach().numpy()
    for k, v in extras.items():
        found[f"{case}/{k}"] = v.detach().numpy()
    for k, t in tensors.items():
        if t.requires_grad:
            found[f"{case}/grad/{k}"] = t.grad.numpy()


def last(x):
    """From channels in the second axis to channels last, and back."""
    return x.movedim(1, -1)


def second(x):
    return x.movedim(-1, 1)


record("layer_norm", lambda x, scale, bias: F.layer_norm(x, (5,), scale, bias), x=numbers(3, 4, 5),
       scale=numbers(5), bias=numbers(5))  # fmt: skip
record("layer_norm_two_axes", lambda x, scale, bias: F.layer_norm(x, (4, 5), scale, bias, 0.1),
       x=numbers(3, 4, 5), scale=numbers(4, 5), bias=numbers(4, 5))  # fmt: skip
record("rms_norm", lambda x, scale: F.rms_norm(x, (5,), scale), x=numbers(3, 5), scale=numbers(5))
record("rms_norm_epsilon", lambda x: F.rms_norm(x, (5,), None, 0.1), x=numbers(3, 5))
record("instance_norm", lambda x, scale, bias: last(F.instance_norm(second(x), None, None, scale,
       bias)), x=numbers(2, 3, 4, 5), scale=numbers(5), bias=numbers(5))  # fmt: skip
record("group_norm", lambda x, scale, bias: last(F.group_norm(second(x), 3, scale, bias)),
       x=numbers(2, 4, 6), scale=numbers(6), bias=numbers(6))  # fmt: skip
record("group_norm_flat", lambda x: F.group_norm(x, 2, eps=0.1), x=numbers(3, 6))
for size in (1, 2, 3, 4, 5):
    record(f"local_response_norm_{size}", lambda x, n=size: last(F.local_response_norm(second(x), n,
           0.5, 0.7, 2.0)), x=numbers(2, 3, 4))  # fmt: skip


def batch_norm(train):
    def run(x, mean, var, scale, bias):
        mean, var = mean.clone(), var.clone()
        y = F.batch_norm(second(x), mean, var, scale, bias, train, 0.1)
        return last(y), {"mean_after": mean, "var_after": var}

    return run


for train in (False, True):
    record(f"batch_norm_{'train' if train else 'eval'}", batch_norm(train), ("mean", "var"),
           x=numbers(3, 4, 5), mean=numbers(5), var=np.abs(numbers(5)) + 0.1, scale=numbers(5),
           bias=numbers(5))  # fmt: skip


def instance_norm(train):
    def run(x, mean, var, scale, bias):
        mean, var = mean.clone(), var.clone()
        y = F.instance_norm(second(x), mean, var, scale, bias, train, 0.1)
        return last(y), {"mean_after": mean, "var_after": var}

    return run


for train in (False, True):
    record(f"tracked_norm_{'train' if train else 'eval'}", instance_norm(train), ("mean", "var"),
           x=tracked["x"], mean=tracked["mean"], var=tracked["var"], scale=tracked["scale"],
           bias=tracked["bias"])  # fmt: skip
record("batch_norm_alone", lambda x: F.batch_norm(x, None, None, training=True), x=numbers(6, 3))


def weight_norm(x, direction, magnitude):
    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 4, bias=False))
    originals = {"parametrizations.weight.original0": magnitude[:, None],
                 "parametrizations.weight.original1": direction.T}  # fmt: skip
    return torch.func.functional_call(layer, originals, (x,))


record("weight_norm", weight_norm, x=numbers(2, 3), direction=numbers(3, 4), magnitude=numbers(4))


def spectral_norm(train):
    def run(x, kernel, u, v):
        layer = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(3, 4, bias=False))
        layer.train(train)
        at = layer.parametrizations.weight[0]
        at._u, at._v = u.detach().clone(), v.detach().clone()
        y = x @ at(kernel.T).T
        return y, {"u_after": at._u, "v_after": at._v}

    return run


for train in (False, True):
    u, v = numbers(4), numbers(3)
    record(f"spectral_norm_{'train' if train else 'eval'}", spectral_norm(train), ("u", "v"),
           x=numbers(2, 3), kernel=numbers(3, 4), u=u / np.linalg.norm(u),
           v=v / np.linalg.norm(v))  # fmt: skip


indices = np.array([[0, 2, 1], [2, 4, 2]])
record("embedding", lambda x, table: F.embedding(x, table), x=indices, table=numbers(5, 3))
record("embedding_often", lambda x, table: F.embedding(x, table, scale_grad_by_freq=True),
       x=indices, table=np.arange(15.0).reshape(5, 3))  # fmt: skip
record("embedding_padding", lambda x, table: F.embedding(x, table, 2), x=indices,
       table=numbers(5, 3))  # fmt: skip


def shortened(p):
    def run(x, table):
        with torch.no_grad():
            short = table.detach().clone()
            F.embedding(x, short, max_norm=1.0, norm_type=p)
        return F.embedding(x, table + (short - table).detach())

    return run


for p in (1.0, 2.0):
    record(f"embedding_max_norm_{int(p)}", shortened(p), x=indices, table=numbers(5, 3))

np.savez_compressed(Path(__file__).parents[1] / "norms.npz", **found)
print(len(found), "arrays")
