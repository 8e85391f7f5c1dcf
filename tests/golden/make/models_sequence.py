"""Models for texts as PyTorch and transformers compute them, in float64.

Run with PyTorch and transformers from the root of the repository; writes
tests/golden/models_sequence.npz. Parameters are those that tests/nn/vision_cases.py makes of paths
and shapes; tokens are in the file. Of each case there are `out`, the logits, and `slopes`: the
derivatives along `direction` of each parameter, in order of the paths, of the sum of the logits,
each times cos(0, 1, 2, ...).
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.nn.vision_cases import direction, joined, values

torch.set_default_dtype(torch.float64)
rng = np.random.default_rng(0)
found = {}


class Parts:
    """Parameters by their paths: each is a part of a tensor, or one that is transposed here."""

    def __init__(self):
        self.of = {}

    def add(self, path, tensor, transposed=False, rows=slice(None)):
        self.of[path] = (tensor, transposed, rows)

    def linear(self, path, module, transposed=True, rows=slice(None)):
        self.add(f"{path}/kernel", module.weight, transposed, rows)
        if module.bias is not None:
            self.add(f"{path}/bias", module.bias, False, rows)

    def norm(self, path, module):
        self.add(f"{path}/scale", module.weight)
        if getattr(module, "bias", None) is not None:
            self.add(f"{path}/bias", module.bias)

    def set(self):
        with torch.no_grad():
            for path, (tensor, transposed, rows) in self.of.items():
                part = (tensor.T if transposed else tensor)[..., rows]
                part.copy_(torch.tensor(values(path, tuple(part.shape))))

    def slopes(self):
        along = {}
        for path, (tensor, transposed, rows) in self.of.items():
            part = (tensor.grad.T if transposed else tensor.grad)[..., rows].numpy()
            along[path] = np.sum(part * direction(path, part.shape))
        return joined(along)


def record(case, parts, run, **inputs):
    parts.set()
    out = run()
    (out * torch.cos(torch.arange(out.numel())).reshape(out.shape)).sum().backward()
    found.update({f"{case}/{name}": value.numpy() for name, value in inputs.items()})
    found[f"{case}/out"] = out.detach().numpy()
    found[f"{case}/slopes"] = parts.slopes()


def tokens(vocabulary, *shape):
    return torch.tensor(rng.integers(0, vocabulary, shape, dtype=np.int32))


def gpt():
    config = GPT2Config(vocab_size=11, n_positions=7, n_embd=8, n_layer=2, n_head=2,
                        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
                        attn_implementation="eager")  # fmt: skip
    model = GPT2LMHeadModel(config).double()
    parts, body = Parts(), model.transformer
    parts.add("embed/table", body.wte.weight)
    parts.add("positions/table", body.wpe.weight)
    parts.norm("norm", body.ln_f)
    for i, block in enumerate(body.h):
        here = f"block{i}"
        parts.norm(f"{here}/norm1", block.ln_1)
        parts.norm(f"{here}/norm2", block.ln_2)
        # These modules have kernels as here.
        for j, name in enumerate(("query", "key", "value")):
            rows = slice(8 * j, 8 * j + 8)
            parts.linear(f"{here}/attention/{name}", block.attn.c_attn, False, rows)
        parts.linear(f"{here}/attention/out", block.attn.c_proj, False)
        parts.linear(f"{here}/feed_forward/hidden", block.mlp.c_fc, False)
        parts.linear(f"{here}/feed_forward/out", block.mlp.c_proj, False)
    x = tokens(11, 2, 6)
    record("gpt", parts, lambda: model(x.long()).logits, tokens=x)


def rms_norm(self, x):
    """As there, but not in float32."""
    return self.weight * (x / torch.sqrt((x**2).mean(-1, keepdim=True) + self.variance_epsilon))


def rotary(x, position_ids):
    """As there, but not in float32."""
    features = 4
    frequencies = 500.0 ** -(torch.arange(0, features, 2) / features)
    angles = position_ids[..., None] * torch.cat([frequencies, frequencies])
    return torch.cos(angles), torch.sin(angles)


def llama():
    config = LlamaConfig(vocab_size=11, hidden_size=16, intermediate_size=12, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-5,
                         attn_implementation="sdpa")  # fmt: skip
    modeling_llama.LlamaRMSNorm.forward = rms_norm
    model = LlamaForCausalLM(config).double()
    parts, body = Parts(), model.model
    body.rotary_emb.forward = rotary
    parts.add("embed/table", body.embed_tokens.weight)
    parts.norm("norm", body.norm)
    parts.linear("out", model.lm_head)
    for i, block in enumerate(body.layers):
        here, attention = f"block{i}", block.self_attn
        parts.norm(f"{here}/norm1", block.input_layernorm)
        parts.norm(f"{here}/norm2", block.post_attention_layernorm)
        parts.linear(f"{here}/attention/query", attention.q_proj)
        parts.linear(f"{here}/attention/key", attention.k_proj)
        parts.linear(f"{here}/attention/value", attention.v_proj)
        parts.linear(f"{here}/attention/out", attention.o_proj)
        parts.linear(f"{here}/feed_forward/gate", block.mlp.gate_proj)
        parts.linear(f"{here}/feed_forward/value", block.mlp.up_proj)
        parts.linear(f"{here}/feed_forward/out", block.mlp.down_proj)
    x = tokens(11, 2, 6)
    record("llama", parts, lambda: model(x.long()).logits, tokens=x)


def attention(parts, path, module):
    """Without the biases that PyTorch has either everywhere or nowhere."""
    for j, name in enumerate(("query", "key", "value")):
        rows = slice(8 * j, 8 * j + 8)
        parts.add(f"{path}/{name}/kernel", module.in_proj_weight, True, rows)
    parts.add(f"{path}/out/kernel", module.out_proj.weight, True)
    nn.init.zeros_(module.in_proj_bias)
    nn.init.zeros_(module.out_proj.bias)


def seq2seq(norm_first):
    parts = Parts()
    size = {
        "d_model": 8,
        "nhead": 2,
        "dim_feedforward": 12,
        "dropout": 0.0,
        "batch_first": True,
        "norm_first": norm_first,
    }
    last = (lambda: nn.LayerNorm(8)) if norm_first else (lambda: None)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(**size), 2, last(),
                                    enable_nested_tensor=False)  # fmt: skip
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(**size), 2, last())
    for side, stack in (("encoder", encoder), ("decoder", decoder)):
        for i, layer in enumerate(stack.layers):
            here = f"{side}/layer{i}"
            attention(parts, f"{here}/attention", layer.self_attn)
            parts.linear(f"{here}/feed_forward/hidden", layer.linear1)
            parts.linear(f"{here}/feed_forward/out", layer.linear2)
            norms = [layer.norm1, layer.norm2]
            if side == "decoder":
                attention(parts, f"{here}/memory_attention", layer.multihead_attn)
                norms.append(layer.norm3)
            for j, norm in enumerate(norms):
                parts.norm(f"{here}/norm{j + 1}", norm)
        if norm_first:
            parts.norm(f"{side}/norm", stack.norm)
    tables = {"source": nn.Embedding(9, 8), "target": nn.Embedding(7, 8)}
    for side, table in tables.items():
        parts.add(f"embed_{side}/table", table.weight)
    out = nn.Linear(8, 7)
    parts.linear("out", out)
    source, target = tokens(9, 2, 5), tokens(7, 2, 4)
    source[source == 0], source[0, 3:] = 1, 0

    def embedded(side, x):
        time = torch.arange(x.shape[1])[:, None]
        angles = time / 10000.0 ** (torch.arange(0, 8, 2) / 8)
        places = torch.stack([torch.sin(angles), torch.cos(angles)], -1).reshape(-1, 8)
        return 8**0.5 * tables[side](x.long()) + places

    def run():
        absent = source == 0
        memory = encoder(embedded("source", source), src_key_padding_mask=absent)
        causal = torch.triu(torch.ones(4, 4, dtype=bool), 1)
        y = decoder(embedded("target", target), memory, tgt_mask=causal,
                    memory_key_padding_mask=absent)  # fmt: skip
        return out(y)

    case = "seq2seq_norm_first" if norm_first else "seq2seq"
    record(case, parts, run, source=source, target=target)


gpt()
llama()
seq2seq(False)
seq2seq(True)
np.savez_compressed(Path(__file__).parents[1] / "models_sequence.npz", **found)
