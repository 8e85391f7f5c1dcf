"""Every function and layer is compared with another implementation, values and gradients alike."""

import inspect
import re

import pytest

from fstensor import nn
from tests.nn import (
    functions_cases,
    losses_cases,
    spatial_cases,
    spatial_golden,
    test_activations,
    test_attention,
    test_compositions,
    test_conv,
    test_dropout,
    test_embedding,
    test_functions,
    test_layer,
    test_norms,
    test_pool,
    test_recurrent,
    test_resize,
    test_spatial,
    test_transformer,
)

# The tests of those that are not in the lists of cases.
APART = {
    "BatchNorm": test_norms.test_batch_norm,
    "Bilinear": test_functions.test_layers_of_products,
    "Checkpoint": test_compositions.test_state_within_what_is_computed_again,
    "DeformConv2d": test_functions.test_deformable_convolution,
    "Embedding": test_embedding.test_values_and_gradients,
    "FeedForward": test_transformer.test_feed_forward,
    "Flatten": test_spatial.test_flatten,
    "Lambda": test_layer.test_parallel_and_residual,
    "MaxUnpool": test_pool.test_max_unpool,
    "MultiheadAttention": test_attention.test_the_layer_beside_pytorch,
    "PReLU": test_functions.test_learned_slopes,
    "RReLU": test_functions.test_rrelu_has_the_slopes_it_drew_as_derivatives,
    "SpectralNorm": test_norms.test_spectral_norm,
    "Transformer": test_transformer.test_transformer,
    "TransformerDecoder": test_transformer.test_feed_forward,
    "TransformerDecoderLayer": test_transformer.test_decoder_layer,
    "TransformerEncoder": test_transformer.test_feed_forward,
    "TransformerEncoderLayer": test_transformer.test_encoder_layer,
    "Upsample": test_resize.test_upsample,
    "gumbel_softmax": test_functions.test_gumbel_softmax,
    "identity": test_functions.test_identity,
    "max_unpool": test_pool.test_max_unpool,
    "one_hot": test_activations.test_one_hot,
    "sinusoidal_encoding": test_embedding.test_sinusoidal_encoding,
    "spectral_norm": test_norms.test_spectral_norm_finds_the_largest_singular_value,
}
# What computes nothing itself, or has tests of its own for all of it.
ELSEWHERE = {"Layer", "Net", "Summary", "summary", "initializers", "models"}


def types_of(layers):
    return {type(layer).__name__ for layer in layers.values()}


def compared():
    """Those in lists of cases, all of which have values and gradients."""
    found = set(test_activations.NAMES)
    for family in spatial_cases.FAMILIES.values():
        found |= {case.function for case in family.values()}
    for functions in spatial_golden.BY_RANK.values():
        found |= {f.__name__ for f in functions}
    for module in (test_conv, test_pool, test_spatial, test_norms):
        found |= types_of(module.LAYERS)
    for kinds in (test_recurrent.KINDS, test_recurrent.CELLS):
        found |= {kind.__name__ for kind in kinds.values()}
    found |= {f.__name__ for f in test_dropout.FUNCTIONS}
    found |= {layer.__name__ for layer in test_dropout.LAYERS}
    for name in nn.__all__:
        if any(re.match(rf"{name}(_|$)", case) for case in test_norms.FUNCTIONS):
            found.add(name)
    for module in (functions_cases, losses_cases):
        found |= set(re.findall(r"\bnn\.(\w+)", inspect.getsource(module)))
    return found


@pytest.mark.parametrize("name", [n for n in nn.__all__ if n not in ELSEWHERE])
def test_compared(name):
    if name in APART:
        assert re.search(rf"\bnn\.{name}\b", inspect.getsource(APART[name]))
    else:
        assert name in compared()
