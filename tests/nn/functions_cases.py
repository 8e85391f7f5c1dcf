"""The cases of tests/golden/functions.npz, with our functions."""

import functools

import numpy as np

from fstensor import nn


def max_unpool(x, indices, rank, size, **options):
    function = (nn.max_unpool1d, nn.max_unpool2d, nn.max_unpool3d)[rank - 1]
    return function(x, indices, **options, output_size=size)


def tied(x, table):
    return nn.linear(nn.tanh(nn.embedding(x, table)), table.T)


def of_layer(layer, **options):
    return lambda x, params: layer(params, x, **options)


def stateless(layer):
    return lambda x: layer({}, x)


def attention(q, k, v, bias=None, **options):
    return nn.dot_product_attention(q, k, v, bias, **options)


def residual(q, k):
    return nn.dot_product_attention(q, k, k, scale=0.5, return_residual=True)[1]


TWIN = nn.Shared("twin", nn.Linear(3))
TOWER = nn.Sequential(
    nn.Residual(TWIN), nn.tanh, nn.Parallel(TWIN, nn.Identity(), combine=lambda a, b: a * b)
)
WHERE = np.array([[True, False, True, True], [False, True, True, True]])
LENGTHS = {"query_seq_lengths": np.array([3, 5]), "key_value_seq_lengths": np.array([4, 3])}
CASES = {
    "sigmoid": nn.sigmoid,
    "tanh": lambda x: nn.tanh(x),
    "log_sigmoid": nn.log_sigmoid,
    "silu": nn.silu,
    "mish": nn.mish,
    "gelu": nn.gelu,
    "gelu_exact": functools.partial(nn.gelu, approximate=False),
    "softplus": nn.softplus,
    "softplus_beta": functools.partial(nn.softplus, beta=0.7),
    "softsign": nn.softsign,
    "tanhshrink": nn.tanhshrink,
    "relu": nn.relu,
    "leaky_relu": nn.leaky_relu,
    "leaky_relu_slope": functools.partial(nn.leaky_relu, negative_slope=0.3),
    "elu": nn.elu,
    "elu_alpha": functools.partial(nn.elu, alpha=0.7),
    "selu": nn.selu,
    "celu": nn.celu,
    "celu_alpha": functools.partial(nn.celu, alpha=0.5),
    "hard_sigmoid": nn.hard_sigmoid,
    "hard_silu": nn.hard_silu,
    "rrelu": nn.rrelu,
    "rrelu_bounds": functools.partial(nn.rrelu, lower=0.1, upper=0.5),
    "glu": nn.glu,
    "glu_axis": lambda x: nn.glu(x[:4], axis=0),
    "softmax": nn.softmax,
    "softmax_axis": functools.partial(nn.softmax, axis=0),
    "log_softmax": nn.log_softmax,
    "log_softmax_axis": functools.partial(nn.log_softmax, axis=0),
    "softmin": nn.softmin,
    "softmin_axis": functools.partial(nn.softmin, axis=0),
    "logsumexp": lambda x: nn.logsumexp(x, axis=-1),
    "standardize": nn.standardize,
    "relu6": nn.relu6,
    "hardtanh": nn.hardtanh,
    "hardtanh_bounds": functools.partial(nn.hardtanh, min_val=-0.3, max_val=6.0),
    "hardshrink": nn.hardshrink,
    "hardshrink_threshold": functools.partial(nn.hardshrink, threshold=0.3),
    "softshrink": nn.softshrink,
    "softshrink_threshold": functools.partial(nn.softshrink, threshold=0.3),
    "threshold": functools.partial(nn.threshold, threshold=0.3, value=-1.5),
    "prelu": nn.prelu,
    "prelu_channels": nn.prelu,
    "linear": nn.linear,
    "bilinear": nn.bilinear,
    "tied": tied,
    "deform_conv2d": nn.deform_conv2d,
    "deform_conv2d_options": functools.partial(
        nn.deform_conv2d, stride=(2, 1), padding=(1, 2), dilation=(1, 2)
    ),
    "max_unpool_1d": functools.partial(
        max_unpool, rank=1, size=(7,), kernel_size=3, stride=3, padding=1
    ),
    "max_unpool_2d": functools.partial(max_unpool, rank=2, size=(5, 6), kernel_size=2),
    "max_unpool_3d": functools.partial(max_unpool, rank=3, size=(4, 5, 2), kernel_size=2),
    "swiglu": of_layer(nn.SwiGLU(4)),
    "rotary": nn.rotary_encoding,
    "rotary_halves": stateless(nn.RotaryEncoding(50.0, interleaved=False)),
    "sinusoidal": stateless(nn.SinusoidalEncoding()),
    "learned": of_layer(nn.LearnedEncoding(5)),
    "local": of_layer(nn.LocalConv(2, 2)),
    "separable": of_layer(nn.SeparableConv(3, 2, multiplier=2)),
    "repeated": of_layer(nn.Repeat(nn.Sequential(nn.Linear(3), nn.tanh), 3)),
    "tower": of_layer(TOWER),
    "log1mexp": nn.log1mexp,
    "squareplus": nn.squareplus,
    "standardize_given": functools.partial(nn.standardize, epsilon=0.1),
    "softmax_where": functools.partial(nn.softmax, where=WHERE),
    "logsumexp_where": lambda x: nn.logsumexp(x, axis=-1, where=WHERE),
    "logmeanexp_where": functools.partial(nn.logmeanexp, axis=-1, where=WHERE),
    "attention_lengths": functools.partial(attention, **LENGTHS),
    "attention_causal_lengths": functools.partial(attention, **LENGTHS, is_causal=True),
    "attention_window": functools.partial(attention, local_window_size=(2, 1)),
    "attention_narrow_window": functools.partial(
        attention, local_window_size=1, is_causal=True, scale=0.5
    ),
    "attention_bias_window": functools.partial(attention, local_window_size=(2, 1)),
    "attention_residual": residual,
}
