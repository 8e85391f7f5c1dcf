"""Examples of `fstensor.nn`. Keys are passed as arrays, their data, so that they can be batched."""

from __future__ import annotations

import numpy as np

from fstensor import nn, random
from fstensor.testing.examples.example import (
    CUBE,
    FRACTION,
    MATRIX,
    OTHER,
    POSITIVE,
    SQUARE,
    UNIT,
    Call,
    Examples,
    each,
    given,
)

KEY = np.array([0, 7], np.uint32)
# Batch and positions of 1 to 3 dimensions, channels last.
LINE = np.sin(np.arange(1.0, 25.0)).reshape(2, 6, 2)
PLANE = np.sin(np.arange(1.0, 33.0)).reshape(1, 4, 4, 2)
SPACE = np.sin(np.arange(1.0, 65.0)).reshape(1, 4, 4, 4, 1)
DATA = (LINE, PLANE, SPACE)
LINE_KERNEL = np.cos(np.arange(12.0)).reshape(3, 2, 2)
PLANE_KERNEL = np.cos(np.arange(16.0)).reshape(2, 2, 2, 2)
SPACE_KERNEL = np.cos(np.arange(8.0)).reshape(2, 2, 2, 1, 1)
KERNELS = (LINE_KERNEL, PLANE_KERNEL, SPACE_KERNEL)
LENGTHS = np.array([3, 2])
CLASSES = np.array([2, 0])
SIGNS = np.array([1.0, -1.0, 1.0])
ROW_SIGNS = np.array([1.0, -1.0])
OTHER_MATRIX = np.array([[0.4, 1.1, -0.8], [-0.3, 0.2, 1.6]])
THIRD_MATRIX = np.array([[-1.2, 0.5, 0.1], [0.8, -0.9, 0.35]])


def _by_key(*after: object, **options: object) -> Call:
    """A call with a key, its data first among the arrays."""
    return lambda f, key, *arrays: f(random.wrap_key_data(key), *arrays, *after, **options)


def _of_dimensions(name: str, call: Call, *more: tuple[np.ndarray, ...]) -> Examples:
    """Examples of a function of each number of spatial dimensions."""
    found: Examples = {}
    for i, x in enumerate(DATA):
        found |= each(f"{name}{i + 1}d", x, *(operands[i] for operands in more), call=call, like="")
    return found


def _unpooled(dimensions: int) -> Examples:
    x = DATA[dimensions - 1]
    pooled, indices = getattr(nn, f"max_pool{dimensions}d")(x, 2, return_indices=True)
    operands = np.asarray(pooled), np.asarray(indices)
    return each(f"max_unpool{dimensions}d", *operands, call=given(2), like="")


def _batch_norm(f: Call, x: object, mean: object, variance: object) -> object:
    return f(x, mean, variance)[0]


ACTIVATIONS: Examples = {
    **each(
        """relu relu6 sigmoid softplus silu swish gelu elu selu celu leaky_relu mish tanh hard_tanh
        hard_sigmoid hard_silu hard_swish soft_sign log_sigmoid""",
        UNIT,
    ),
    **each("softsign hardtanh hardshrink softshrink tanhshrink rrelu softmin", UNIT, like=""),
    **each("prelu", UNIT, FRACTION, like=""),
    **each("softmax log_softmax logsumexp standardize", MATRIX),
    **each("glu", CUBE),
    **each("gumbel_softmax", KEY, UNIT, call=_by_key(), like=""),
    **each("one_hot", LENGTHS, call=given(4, dtype=np.float64)),
}
LOSSES: Examples = {
    **each(
        "mse_loss l1_loss smooth_l1_loss huber_loss poisson_nll_loss cdist pairwise_distance",
        MATRIX,
        OTHER_MATRIX,
        like="",
    ),
    **each("cosine_similarity", MATRIX, OTHER_MATRIX, like=""),
    **each("normalize", MATRIX, like=""),
    **each("gaussian_nll_loss", UNIT, OTHER, POSITIVE, like=""),
    **each("kl_div binary_cross_entropy_with_logits", UNIT, FRACTION, like=""),
    **each("focal_loss multilabel_soft_margin_loss", UNIT, FRACTION, like=""),
    **each("binary_cross_entropy", FRACTION, np.array([0.7, 0.1, 0.4]), like=""),
    **each("cross_entropy nll_loss multi_margin_loss", MATRIX, CLASSES, like=""),
    **each("multilabel_margin_loss", UNIT, np.array([2, 0, -1]), like=""),
    **each("hinge_loss soft_margin_loss", UNIT, SIGNS, like=""),
    # These compare the targets, which must not be moved then.
    **each("hinge_embedding_loss", UNIT, call=given(SIGNS), like=""),
    **each("cosine_embedding_loss", MATRIX, OTHER_MATRIX, call=given(ROW_SIGNS), like=""),
    **each("margin_ranking_loss", UNIT, OTHER, SIGNS, like=""),
    **each(
        "triplet_margin_loss triplet_margin_with_distance_loss",
        MATRIX,
        OTHER_MATRIX,
        THIRD_MATRIX,
        call=given(margin=5.0),
        like="",
    ),
    **each(
        "ctc_loss",
        np.cos(np.arange(36.0)).reshape(6, 2, 3) - 2,
        np.array([[1, 2, 1], [2, 2, 0]]),
        np.array([6, 5]),
        LENGTHS,
        like="",
    ),
}
NORMS: Examples = {
    **each("layer_norm instance_norm rms_norm", CUBE, like=""),
    **each("group_norm", CUBE, call=given(2), like=""),
    **each("local_response_norm", CUBE, call=given(3), like=""),
    **each("batch_norm", MATRIX, OTHER, POSITIVE, call=_batch_norm, like=""),
    **each(
        "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout",
        KEY,
        SPACE,
        call=_by_key(0.3),
        like="",
    ),
    **each("embedding", np.array([1, 0, 2]), SQUARE, like=""),
    # JAX has its logits in single precision.
    **each("dot_product_attention", *(PLANE + i for i in range(3)), like=""),
}
SPATIAL: Examples = {
    **_of_dimensions("conv", given(padding=1), KERNELS),
    **_of_dimensions("conv_transpose", given(stride=2), KERNELS),
    **_of_dimensions("avg_pool", given(2)),
    **_of_dimensions("max_pool", given(2)),
    **_of_dimensions("lp_pool", given(2, 2)),
    **_of_dimensions("adaptive_avg_pool", given(3)),
    **_of_dimensions("adaptive_max_pool", given(3)),
    **_unpooled(1),
    **_unpooled(2),
    **_unpooled(3),
    **each("interpolate", PLANE, call=given(scale_factor=1.5, mode="bilinear"), like=""),
    **each("grid_sample", PLANE, 0.8 * np.cos(np.arange(12.0)).reshape(1, 2, 3, 2), like=""),
    **each("affine_grid", MATRIX[None], call=given((3, 4)), like=""),
    **each("pad", PLANE, call=given(1), like=""),
    **each("pixel_shuffle", np.tile(PLANE, 2), call=given(2), like=""),
    **each("pixel_unshuffle unfold", PLANE, call=given(2), like=""),
    **each("fold", np.cos(np.arange(72.0)).reshape(1, 9, 8), call=given((4, 4), 2), like=""),
}
KERNEL_SHAPE = (3, 3)


def _made(*options: object) -> Call:
    """A kernel of the initializer that a function gives."""
    return lambda f, key: f(*options)(random.wrap_key_data(key), KERNEL_SHAPE, np.float64)


def _kernel(f: Call, key: np.ndarray) -> object:
    return f(random.wrap_key_data(key), KERNEL_SHAPE, np.float64)


INITIALIZERS: Examples = {
    **each("zeros ones", KEY, call=_kernel, like=""),
    **each("uniform normal truncated_normal", KEY, call=_made(0.5), like=""),
    **each("constant", KEY, call=_made(0.5), like=""),
    **each("variance_scaling", KEY, call=_made(2.0, "fan_avg", "uniform"), like=""),
    **each(
        """lecun_normal lecun_uniform glorot_normal glorot_uniform xavier_normal xavier_uniform
        he_normal he_uniform kaiming_normal kaiming_uniform""",
        KEY,
        call=_made(),
        like="",
    ),
    **each("orthogonal identity", KEY, call=_made(), like=""),
    **each("sparse", KEY, call=_made(0.3), like=""),
    **each(
        "delta_orthogonal dirac",
        KEY,
        call=lambda f, key: f()(random.wrap_key_data(key), (3, 2, 2), np.float64),
        like="",
    ),
}

EXAMPLES: dict[str, Examples] = {
    "nn": ACTIVATIONS | LOSSES | NORMS | SPATIAL,
    "nn.initializers": INITIALIZERS,
}
