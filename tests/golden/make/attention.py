"""Attention and transformers as PyTorch computes them, in float64.

Run with PyTorch; writes tests/golden/attention.npz. Of each case there are the inputs by their
names, the parameters by their paths after `params/`, `out`, and after `grad/` the gradients of
sum(out * cos(0, 1, 2, ...)).
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
found = {}


def numbers(*shape):
    return torch.round(torch.randn(shape), decimals=3).requires_grad_()


def bools(*shape):
    """The first of the last axis is always True."""
    mask = torch.rand(shape) > 0.4
    mask[..., 0] = True
    return mask


def keep(case, values):
    found.update({f"{case}/{k}": v.detach().numpy() for k, v in values.items()})


def record(case, function, params=None, **inputs):
    out = function(**inputs)
    (out * torch.cos(torch.arange(out.numel())).reshape(out.shape)).sum().backward()
    keep(case, {**inputs, "out": out})
    keep(case, {f"grad/{k}": v.grad for k, v in inputs.items() if v.grad is not None})
    if params is not None:
        keep(case, {f"params/{k}": v for k, v in params(False).items()})
        keep(case, {f"grad/params/{k}": v for k, v in params(True).items()})


def attention(q, k, v, bias=None, mask=None, causal=False, scale=None):
    """Here time is before heads."""
    q, k, v = (a.transpose(1, 2) for a in (q, k, v))
    added = bias
    if mask is not None:
        added = torch.zeros(mask.shape) if added is None else added
        added = added.masked_fill(~mask, -torch.inf)
    y = F.scaled_dot_product_attention(q, k, v, added, is_causal=causal, scale=scale,
                                       enable_gqa=True)  # fmt: skip
    return y.transpose(1, 2)


def heads(h, kv, t=4, s=5):
    return {"q": numbers(2, t, h, 3), "k": numbers(2, s, kv, 3), "v": numbers(2, s, kv, 3)}


record("plain", attention, **heads(2, 2))
record("mask", attention, **heads(2, 2), mask=bools(2, 2, 4, 5))
record("bias", attention, **heads(2, 2), bias=numbers(1, 2, 4, 5), mask=bools(2, 1, 1, 5))
record("causal", lambda **x: attention(**x, causal=True), **heads(2, 2, 5))
record("scale", lambda **x: attention(**x, scale=0.3), **heads(2, 2))
record("grouped", attention, **heads(4, 2), mask=bools(2, 4, 4, 5))
record("one_key_head", lambda **x: attention(**x, causal=True), **heads(4, 1, 5))


def of_module(module, paths):
    """The parameters or their gradients as they are named here, kernels transposed."""

    def collect(gradients):
        result = {}
        for ours, (get, part) in paths.items():
            theirs = get
            for name in ("weight", "bias"):
                p = dict(module.named_parameters()).get(theirs + name)
                if p is None:
                    continue
                value = (p.grad if gradients else p).detach()
                if part is not None:
                    n = value.shape[0] // 3
                    value = value[part * n : (part + 1) * n]
                is_norm = "norm" in ours
                kind = ("scale" if is_norm else "kernel") if name == "weight" else "bias"
                result[f"{ours}/{kind}"] = value if value.ndim == 1 else value.T
        return result

    return collect


def within(ours, theirs):
    """Paths of a `MultiheadAttention`."""
    found = {
        f"{ours}{n}": (f"{theirs}in_proj_", i) for i, n in enumerate(("query", "key", "value"))
    }
    return {**found, f"{ours}out": (f"{theirs}out_proj.", None)}


def encoder_layer(ours, theirs):
    return {**within(f"{ours}attention/", f"{theirs}self_attn."),
            f"{ours}feed_forward/hidden": (f"{theirs}linear1.", None),
            f"{ours}feed_forward/out": (f"{theirs}linear2.", None),
            f"{ours}norm1": (f"{theirs}norm1.", None),
            f"{ours}norm2": (f"{theirs}norm2.", None)}  # fmt: skip


def decoder_layer(ours, theirs):
    return {**encoder_layer(ours, theirs),
            **within(f"{ours}memory_attention/", f"{theirs}multihead_attn."),
            f"{ours}norm3": (f"{theirs}norm3.", None)}  # fmt: skip


def randomized(module):
    """Biases and norms begin with 0 and 1, which would hide mistakes."""
    for p in module.parameters():
        p.data = torch.round(torch.randn(p.shape) * 0.5, decimals=3)
    return module


m = randomized(torch.nn.MultiheadAttention(4, 2, batch_first=True))
record("multihead", lambda x, mask: m(x, x, x, attn_mask=~mask)[0], of_module(m, within("", "")),
       x=numbers(2, 5, 4), mask=bools(5, 5))  # fmt: skip
m2 = randomized(torch.nn.MultiheadAttention(4, 2, batch_first=True, bias=False))
record("multihead_of_others", lambda x, y, z, mask: m2(x, y, z, key_padding_mask=~mask)[0],
       of_module(m2, within("", "")), x=numbers(2, 3, 4), y=numbers(2, 5, 4), z=numbers(2, 5, 4),
       mask=bools(2, 5))  # fmt: skip

causal = torch.nn.Transformer.generate_square_subsequent_mask(3)


def record_layers(suffix, **options):
    options = {"batch_first": True, "dropout": 0.0, **options}
    e = randomized(torch.nn.TransformerEncoderLayer(4, 2, 3, activation="gelu", **options))
    record(
        f"encoder_{suffix}",
        lambda x, mask: e(x, src_mask=~mask),
        of_module(e, encoder_layer("", "")),
        x=numbers(2, 3, 4),
        mask=bools(3, 3),
    )
    d = randomized(torch.nn.TransformerDecoderLayer(4, 2, 3, **options))
    record(
        f"decoder_{suffix}",
        lambda x, memory: d(x, memory, tgt_mask=causal),
        of_module(d, decoder_layer("", "")),
        x=numbers(2, 3, 4),
        memory=numbers(2, 5, 4),
    )


record_layers("norm_last")
record_layers("norm_first", norm_first=True)

t = randomized(torch.nn.Transformer(4, 2, 1, 1, 3, 0.0, batch_first=True))
padding = torch.tensor([[False, False, True], [False, False, False]])
paths = {
    **encoder_layer("encoder/layer0/", "encoder.layers.0."),
    **decoder_layer("decoder/layer0/", "decoder.layers.0."),
    "encoder/norm": ("encoder.norm.", None),
    "decoder/norm": ("decoder.norm.", None),
}
record(
    "transformer",
    lambda source, target: t(
        source,
        target,
        src_key_padding_mask=padding,
        memory_key_padding_mask=padding,
        tgt_mask=causal,
    ),
    of_module(t, paths),
    source=numbers(2, 3, 4),
    target=numbers(2, 3, 4),
)

np.savez_compressed(Path(__file__).parents[1] / "attention.npz", **found)
print(len(found), "arrays")
