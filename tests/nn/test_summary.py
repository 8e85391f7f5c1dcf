"""Summaries: what they count, against formulas by hand, and how they look."""

import html
import inspect

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import ShapeDtypeStruct, lax, nn, random
from fstensor.errors import ArgumentError, OptionError, ShapeError
from fstensor.nn.layer import watching
from fstensor.nn.models import LeNet, ResidualMLP


def spec(*shape, dtype="float32"):
    return ShapeDtypeStruct(shape, dtype)


def row(summary, path):
    (found,) = [r for r in summary.rows if r.path == path]
    return found


SMALL = nn.Sequential(
    conv=nn.Conv2d(4, 3, padding=1),
    norm=nn.BatchNorm(),
    flat=nn.Flatten(),
    wide=nn.Linear(6),
    blocks=nn.Repeat(nn.Residual(nn.Sequential(nn.Linear(6), nn.relu)), 3),
    first=nn.Shared("head", nn.Linear(6)),
    second=nn.Shared("head", nn.Linear(6)),
)

TABLE = """\
Layer                       Output            Parameters   FLOPs
Sequential                  float32[2,6]             822  7.84 k
  conv: Conv2d              float32[2,5,5,4]          40  3.80 k
  norm: BatchNorm           float32[2,5,5,4]           8     808
  flat: Flatten             float32[2,100]             0       0
  wide: Linear              float32[2,6]             606  2.41 k
  blocks: Repeat            float32[2,6]             126     504
    layer: Residual x3      float32[2,6]             126     504
      layer: Sequential x3  float32[2,6]             126     468
        0: Linear x3        float32[2,6]             126     468
        1: Lambda(relu) x3  float32[2,6]               0       0
  first: Shared             float32[2,6]              42     156
    shared/head: Linear     float32[2,6]              42     156
  second: Shared            float32[2,6]               0     156
    shared/head: Linear     float32[2,6]          shared     156
822 parameters (3.29 kB), state of 8 (32 B), 7.84 kFLOP
"""


def test_table():
    assert str(nn.summary(SMALL, spec(2, 5, 5, 1))) == TABLE.removesuffix("\n")


def test_the_representation_is_the_table():
    summary = nn.summary(nn.Linear(2), spec(3))
    assert repr(summary) == str(summary)


def test_parameters_of_the_headline_models():
    mlp = nn.summary(ResidualMLP(), spec(128, 784))
    assert mlp.total_parameters == 1_863_690
    assert mlp.parameter_bytes == 4 * 1_863_690
    assert nn.summary(LeNet(), spec(128, 28, 28, 1)).total_parameters == 1_239_760


def test_numbers_are_those_that_init_makes():
    x = fnp.ones((2, 5, 5, 1))
    made = SMALL.init(random.key(0), x)
    params, state = (sum(leaf.size for leaf in fst.tree.leaves(t)) for t in made)
    summary = nn.summary(SMALL, x)
    assert (summary.total_parameters, summary.total_state) == (params, state)
    assert (summary.parameter_bytes, summary.state_bytes) == (4 * params, 4 * state)
    assert summary.rows[0].parameters == params
    assert summary.rows[0].state == row(summary, "norm").state == 8


# FLOPs


def test_flops_of_linear():
    assert nn.summary(nn.Linear(7), spec(5, 3, 11)).total_flops == 15 * (2 * 11 * 7 + 7)
    assert nn.summary(nn.Linear(7, bias=False), spec(5, 3, 11)).total_flops == 15 * 2 * 11 * 7


@pytest.mark.parametrize("groups", [1, 2])
def test_flops_of_convolution(groups):
    conv = nn.Conv2d(6, 3, stride=2, padding=1, groups=groups)
    summary = nn.summary(conv, spec(2, 9, 8, 4))
    outputs = 2 * 5 * 4 * 6
    assert summary.rows[0].output.shape == (2, 5, 4, 6)
    assert summary.total_flops == outputs * (2 * 3 * 3 * (4 // groups) + 1)


def test_flops_of_attention():
    batch, time, features, heads = 2, 7, 12, 3
    summary = nn.summary(nn.MultiheadAttention(heads), spec(batch, time, features))
    rows = batch * time
    projections = 4 * rows * (2 * features * features + features)
    products = 2 * (2 * batch * time * time * features)
    weights = batch * heads * time * time
    # Scaled, then the softmax: the largest of each row, subtracted; exp, summed, divided by.
    softmax = 6 * weights + batch * heads * time
    assert summary.total_flops == projections + products + softmax


def test_flops_are_those_of_the_compiler():
    layer = nn.TransformerEncoderLayer(4, 64)
    x = spec(2, 8, 16)
    params, _ = fst.eval_shape(layer.init, random.key(0), x)
    lowered = fst.jit(lambda params, x: layer(params, x)).lower(params, x)
    assert nn.summary(layer, x).total_flops == lowered.cost_analysis()["flops"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_flops_do_not_depend_on_the_dtype(dtype):
    layer = nn.Lambda(lambda x: fnp.tanh(x @ x.T))
    expected = nn.summary(layer, spec(4, 6)).total_flops
    assert nn.summary(layer, spec(4, 6, dtype=dtype)).total_flops == expected == 2 * 16 * 6 + 16


def test_no_flops_of_integers_and_movements():
    layer = nn.Lambda(lambda x: fnp.sort(x).reshape(2, 3).T.astype("int32") + 1)
    assert nn.summary(layer, spec(6)).total_flops == 0


# Layers that run several times


def test_repeated_layers_multiply():
    layer = nn.TransformerEncoderLayer(2, 8, dropout=0.0)
    x = spec(2, 3, 4)
    one = nn.summary(layer, x)
    three = nn.summary(nn.Repeat(layer, 3), x)
    assert three.total_parameters == 3 * one.total_parameters
    assert three.total_flops == 3 * one.total_flops
    inner = three.rows[1:]
    assert [r.calls for r in inner] == [3] * len(one.rows)
    assert [r.parameters for r in inner] == [3 * r.parameters for r in one.rows]
    assert [r.flops for r in inner] == [3 * r.flops for r in one.rows]
    assert [r.layer for r in inner] == [r.layer for r in one.rows]
    assert [r.path for r in inner] == [f"layer/{r.path}".rstrip("/") for r in one.rows]


def test_shared_parameters_count_once():
    summary = nn.summary(SMALL, spec(2, 5, 5, 1))
    first, second = [r for r in summary.rows if r.path == "shared/head"]
    assert (first.parameters, first.shared) == (42, False)
    assert (second.parameters, second.shared) == (0, True)
    assert first.flops == second.flops == 2 * (2 * 36 + 6)


class Twice(nn.Layer):
    inner: nn.Linear = nn.Linear(4)

    def forward(self, net, x):
        return net.inner(net.inner(x))


def test_a_sublayer_that_runs_twice_is_one_row():
    summary = nn.summary(Twice(), spec(3, 4))
    whole, inner = summary.rows
    assert (inner.calls, inner.label) == (2, "inner: Linear x2")
    assert inner.parameters == whole.parameters == 20
    assert inner.flops == whole.flops == 2 * 3 * (2 * 16 + 4)


class Steps(nn.Layer):
    """Runs a layer in a loop, whose carry begins weak: it is traced twice."""

    inner: nn.Layer

    def forward(self, net, x):
        if net.making:
            return net.inner(x)

        def step(carry, x):
            return carry + fnp.sum(net.inner(x)), None

        return lax.scan(step, 0.0, fnp.stack([x] * 5))[0]


def test_a_loop_counts_each_round():
    summary = nn.summary(Steps(nn.Sequential(nn.Linear(4), nn.Identity())), spec(3, 4))
    whole, inner, linear, identity = summary.rows
    assert [r.calls for r in summary.rows] == [1, 5, 5, 5]
    assert inner.flops == linear.flops == 5 * 3 * (2 * 16 + 4)
    assert identity.flops == 0
    assert whole.flops == inner.flops + 5 * (12 + 1)
    assert whole.parameters == 20


class Within(nn.Layer):
    """Runs a layer within a transformation, by parameters of its own."""

    transform: object
    inner: nn.Linear = nn.Linear(4)

    def forward(self, net, x):
        return net.inner(x) if net.making else self.transform(lambda x: net.inner(x))(x)


@pytest.mark.parametrize("transform", [fst.jit, fst.checkpoint, fst.vmap])
def test_layers_within_transformations(transform):
    for _ in range(2):
        summary = nn.summary(Within(transform), spec(3, 4))
        assert [r.path for r in summary.rows] == ["", "inner"]
        assert [r.calls for r in summary.rows] == [1, 1]
        assert [r.flops for r in summary.rows] == [3 * (2 * 16 + 4)] * 2


def test_of_a_choice_the_dearer_branch_counts():
    class Chosen(nn.Layer):
        small: nn.Linear = nn.Linear(4, bias=False)
        large: nn.Sequential = nn.Sequential(nn.Linear(8, bias=False), nn.Linear(4, bias=False))

        def forward(self, net, x):
            if net.making:
                return net.small(x) + net.large(x)
            return lax.cond(x[0] > 0, lambda x: net.small(x), lambda x: net.large(x), x)

    summary = nn.summary(Chosen(), spec(4))
    assert summary.total_flops == row(summary, "large").flops == 2 * (4 * 8 + 8 * 4)
    assert row(summary, "small").flops == 0
    assert [r.parameters for r in summary.rows] == [80, 64, 32, 32, 16]


def test_a_program_that_is_used_again_belongs_to_who_uses_it():
    @fst.jit
    def shared(x):
        return fnp.tanh(x)

    model = nn.Sequential(a=nn.Lambda(shared), b=nn.Lambda(shared))
    summary = nn.summary(model, spec(6))
    assert [r.flops for r in summary.rows] == [12, 6, 6]


def test_normalized_weights_go_by_the_name_of_the_field():
    summary = nn.summary(nn.WeightNorm(nn.Linear(3)), spec(2, 4))
    assert [r.path for r in summary.rows] == ["", "layer"]
    assert [r.parameters for r in summary.rows] == [18, 15]


def test_layers_that_run_cells_themselves_have_their_parameters():
    summary = nn.summary(nn.LSTM(5), spec(2, 7, 3))
    assert [r.parameters for r in summary.rows] == [4 * 5 * (3 + 5 + 2)]
    h = spec(1, 2, 5)
    assert summary.rows[0].output == (spec(2, 7, 5), (h, h))
    assert "(float32[2,7,5], float32[1,2,5], float32[1,2,5])" in str(summary)


# What it takes


def test_nothing_is_computed():
    def never(key, shape, dtype):
        fst.debug.callback(lambda: pytest.fail("it ran"))
        return fnp.zeros(shape, dtype)

    block = nn.TransformerEncoderLayer(
        32, nn.SwiGLU(11008), norm_first=True, norm=nn.RMSNorm(), bias=False
    )
    model = nn.Sequential(
        nn.Embedding(32000, 4096),
        nn.Repeat(block, 32),
        nn.RMSNorm(),
        nn.Linear(32000, bias=False, kernel_init=never),
    )
    summary = nn.summary(model, spec(1, 2048, dtype="int32"))
    assert summary.total_parameters == 6_738_415_616  # Touvron et al., 2023: 6.7 billion
    assert summary.rows[0].output == spec(1, 2048, 32000)


def test_training_needs_no_key_but_takes_one():
    layer = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm())
    x = spec(4, 3)
    evaluation, training = nn.summary(layer, x), nn.summary(layer, x, train=True)
    assert evaluation.total_flops < training.total_flops
    assert nn.summary(layer, x, train=True, key=random.key(1)) == training


def test_a_key_for_evaluation():
    class Noisy(nn.Layer):
        def forward(self, net, x):
            return x + random.normal(net.random_key(), x.shape)

    with pytest.raises(ArgumentError, match="pass key"):
        nn.summary(Noisy(), spec(3))
    assert nn.summary(Noisy(), spec(3), key=random.key(0)).rows[0].output == spec(3)


def test_options_may_be_shapes():
    mask = spec(1, 1, 3, 3, dtype="bool")
    summary = nn.summary(nn.MultiheadAttention(2), spec(2, 3, 4), mask=mask)
    assert summary.rows[0].output == spec(2, 3, 4)


def test_trees_and_arrays_as_inputs():
    layer = nn.Lambda(lambda pair: pair["a"] @ pair["b"])
    summary = nn.summary(layer, {"a": np.ones((2, 3), np.float32), "b": spec(3, 4)})
    assert summary.rows[0].output == spec(2, 4)


def test_down_to_a_depth():
    summary = nn.summary(SMALL, spec(2, 5, 5, 1))
    shown = summary.down_to(1)
    assert [r.name for r in shown.rows] == ["", *dict(SMALL.layers)]
    assert shown.total_flops == summary.total_flops
    with pytest.raises(OptionError, match="down_to: depth must be 0 or more, got -1"):
        summary.down_to(-1)


def test_errors():
    with pytest.raises(ArgumentError, match="takes a layer, and inputs for it, got <function"):
        nn.summary(nn.relu, spec(2))
    message = r"inputs must be .*, got 8 for inputs\[0\]\[0\]; pass ShapeDtypeStruct\(shape, dtype"
    with pytest.raises(ArgumentError, match=message):
        nn.summary(nn.Linear(2), (8, 64))
    with pytest.raises(ShapeError, match="got float32"):
        nn.summary(nn.Conv2d(4, 3), spec(2, 5))
    assert watching.get() is None


def test_html_has_what_the_table_has():
    def hook(x):
        return x

    hook.__name__ = "<b>&'\""
    model = nn.Sequential(**{"<i>": nn.Linear(1000), "hook": hook})
    summary = nn.summary(model, spec(2000, 1000))
    text = summary._repr_html_()
    assert "<b>" not in text
    assert "<i>" not in text
    lines = [line for line in text.splitlines() if line.startswith("<tr>")]
    assert len(lines) == 1 + len(summary.rows)
    for r, line in zip(summary.rows, lines[1:], strict=True):
        for cell in r.cells:
            assert html.escape(cell) in line
    assert "<p>1,001,000 parameters (4.00 MB), state of 0 (0 B), 4.00 GFLOP</p>" in text


def test_the_signature_leaves_other_names_to_options():
    assert list(inspect.signature(nn.summary).parameters) == [
        "layer",
        "inputs",
        "key",
        "train",
        "options",
    ]
