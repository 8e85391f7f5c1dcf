"""Recurrent networks as PyTorch computes them, in float64.

Run with PyTorch; writes tests/golden/recurrent.npz. Of each case there are the inputs by their
names, the parameters by their paths after `params/`, `out` and the last states, and after `grad/`
the gradients of the sum of all outputs, each times cos(0, 1, 2, ...).
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
found = {}
KINDS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
CELLS = {"rnn": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}
OURS = {"weight_ih": "input_kernel", "weight_hh": "hidden_kernel", "bias_ih": "input_bias",
        "bias_hh": "hidden_bias", "weight_hr": "projection_kernel"}  # fmt: skip


def path(name):
    """weight_ih_l0_reverse is layer0_reverse/input_kernel here."""
    kind, separator, layer = name.partition("_l")
    return f"layer{layer}/{OURS[kind]}" if separator else OURS[kind]


def numbers(*shape):
    return torch.round(torch.randn(shape), decimals=3).requires_grad_()


def keep(case, values):
    found.update({f"{case}/{k}": v.detach().numpy() for k, v in values.items()})


def record(case, module, inputs, outputs):
    """Kernels are transposed."""
    weights = {k: torch.cos(torch.arange(v.numel())).reshape(v.shape) for k, v in outputs.items()}
    sum((v * weights[k]).sum() for k, v in outputs.items()).backward()
    keep(case, {**inputs, **outputs})
    keep(case, {f"grad/{k}": v.grad for k, v in inputs.items() if v.grad is not None})
    for name, p in module.named_parameters():
        keep(case, {f"params/{path(name)}": p.T, f"grad/params/{path(name)}": p.grad.T})


def sequence(case, kind, lengths=None, given=False, **options):
    module = KINDS[kind](3, 2, batch_first=True, **options)
    inputs = {"x": numbers(3, 5, 3)}
    state = None
    if given:
        count = len([n for n, _ in module.named_parameters() if n.startswith("weight_hh")])
        inputs["h"] = numbers(count, 3, options.get("proj_size", 2))
        state = inputs["h"]
        if kind == "lstm":
            inputs["c"] = numbers(count, 3, 2)
            state = (inputs["h"], inputs["c"])
    x = inputs["x"]
    if lengths is not None:
        inputs["lengths"] = torch.tensor(lengths)
        x = pack_padded_sequence(x, inputs["lengths"], batch_first=True, enforce_sorted=False)
    out, last = module(x, state)
    if lengths is not None:
        out, _ = pad_packed_sequence(out, batch_first=True, total_length=5)
    last = last if kind == "lstm" else (last,)
    outputs = dict(zip(("out", "last_h", "last_c"), (out, *last), strict=False))
    record(case, module, inputs, outputs)


for kind in KINDS:
    sequence(f"{kind}_plain", kind)
    sequence(f"{kind}_whole", kind, [4, 1, 5], True, num_layers=2, bidirectional=True)
    cell = CELLS[kind](3, 2)
    inputs = {"x": numbers(4, 3), "h": numbers(4, 2)}
    if kind == "lstm":
        inputs["c"] = numbers(4, 2)
        after = cell(inputs["x"], (inputs["h"], inputs["c"]))
        record("lstm_cell", cell, inputs, {"last_h": after[0], "last_c": after[1]})
    else:
        record(f"{kind}_cell", cell, inputs, {"last_h": cell(inputs["x"], inputs["h"])})
sequence("rnn_relu", "rnn", nonlinearity="relu", bias=False)
sequence("lstm_projected", "lstm", [4, 1, 5], True, bidirectional=True, proj_size=1)

np.savez_compressed(Path(__file__).parents[1] / "recurrent.npz", **found)
print(len(found), "arrays")
