"""Models for texts: sizes as published, PyTorch's values, decoding, sampling, and training."""

import itertools

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import ShapeDtypeStruct, jit, nn, random
from fstensor.errors import ArgumentError, DtypeError, OptionError, ShapeError
from fstensor.nn import models
from fstensor.nn.models.generate import empty_cache
from tests.nn.golden_cases import case, compare, weighted
from tests.nn.vision_cases import direction, joined, values

KEY = random.key(0)
TOKENS = ShapeDtypeStruct((1, 7), np.int32)


def made(model, *inputs, **options):
    return fst.eval_shape(lambda key: model.init(key, *inputs, **options), KEY)


def named(entries):
    return "/".join(entry.key for entry in entries)


def numbers(model, *inputs, dtype=np.float32, tables=5.0):
    """Parameters. tables: the larger embeddings are, the clearer tokens differ."""
    params, _ = made(model, *inputs)
    leaves = []
    for path, shape in fst.tree.leaves_with_path(params):
        factor = tables if path[-1].key == "table" else 1.0
        leaves.append((factor * values(named(path), shape.shape)).astype(dtype))
    return fst.tree.unflatten(fst.tree.structure(params), leaves)


SIZES = {
    "gpt2": 124_439_808,
    "gpt2_medium": 354_823_168,
    "gpt2_large": 774_030_080,
    "gpt2_xl": 1_557_611_200,
    "llama2_7b": 6_738_415_616,
    "llama3_8b": 8_030_261_248,
    "tiny_llama": 1_100_048_384,
}


@pytest.mark.parametrize("name", SIZES)
def test_numbers_of_parameters(name):
    for loop in (False, True):
        params, state = made(getattr(models, name)(loop=loop), TOKENS)
        assert sum(p.size for p in fst.tree.leaves(params)) == SIZES[name]
        assert state == {}


def test_numbers_of_parameters_of_encoders_and_decoders():
    """By the formulas of Vaswani et al., 2017: no biases in attention, one table for all."""
    for model, d, hidden in ((models.transformer_base(), 512, 2048),
                             (models.transformer_big(), 1024, 4096)):  # fmt: skip
        feed_forward = 2 * d * hidden + hidden + d
        encoder, decoder = 4 * d**2 + feed_forward + 4 * d, 8 * d**2 + feed_forward + 6 * d
        params, _ = made(model, TOKENS, TOKENS)
        count = sum(p.size for p in fst.tree.leaves(params))
        assert count == 37000 * d + 6 * (encoder + decoder)
        assert count in (63_045_632, 214_171_648)


GPT = models.GPT(11, 7, 8, 2, 2)
LLAMA = models.Llama(11, 16, 4, 2, 12, kv_heads=2, base=500.0)
SEQ2SEQ = models.Seq2Seq(9, 7, 8, 2, 2, 12)
SMALL = models.GPT(11, 7, 8, 2, 1)


@pytest.mark.parametrize(
    ("name", "model", "inputs"),
    [
        ("gpt", GPT, ["tokens"]),
        ("llama", LLAMA, ["tokens"]),
        ("seq2seq", SEQ2SEQ, ["source", "target"]),
        ("seq2seq_norm_first", models.Seq2Seq(9, 7, 8, 2, 2, 12, norm_first=True),
         ["source", "target"]),
    ],
)  # fmt: skip
def test_as_pytorch(name, model, inputs):
    arrays = case("models_sequence", name)
    inputs = [arrays[n] for n in inputs]
    params = numbers(model, *inputs, dtype=np.float64, tables=1.0)

    def loss(params):
        out = model(params, *inputs)
        return weighted(out), out

    gradients, out = jit(fst.grad(loss, has_aux=True))(params)
    compare(out, arrays["out"], 1e-10)
    slopes = {}
    for path, g in fst.tree.leaves_with_path(gradients):
        slopes[named(path)] = np.sum(g * direction(named(path), g.shape))
    found = joined(slopes)
    np.testing.assert_allclose(found, arrays["slopes"], 1e-10, 1e-10 * np.abs(found).max())


def test_loops_and_checkpoints_are_the_same_model():
    tokens = np.arange(12, dtype=np.int32).reshape(2, 6) % 11
    apart = numbers(GPT, tokens)
    blocks = [apart[f"block{i}"] for i in range(2)]
    rest = {k: v for k, v in apart.items() if not k.startswith("block")}
    stacked = {**rest, "blocks": {"layer": fst.tree.map(lambda *a: np.stack(a), *blocks)}}
    sizes = (11, 7, 8, 2, 2)

    def gradients(model, params):
        return jit(fst.value_and_grad(lambda p: weighted(model(p, tokens))))(params)

    value, expected = gradients(GPT, apart)
    for checkpoint in (False, True):
        model = models.GPT(*sizes, loop=True, checkpoint=checkpoint)
        assert fst.tree.structure(made(model, TOKENS)[0]) == fst.tree.structure(stacked)
        found, of_stacked = gradients(model, stacked)
        compare(found, value, 1e-5)
        for i in range(2):
            of_block = fst.tree.map(lambda g, i=i: g[i], of_stacked["blocks"]["layer"])
            compare(of_block, expected[f"block{i}"], 1e-5)
    checked = models.GPT(*sizes, checkpoint=True)
    for model, count in ((GPT, 0), (checked, 2)):
        eqns = fst.make_jaxpr(model)(apart, tokens).eqns
        assert sum(e.primitive.name == "checkpoint" for e in eqns) == count


# Decoding


@pytest.mark.parametrize("model", [GPT, LLAMA, models.Llama(11, 8, 2, 2, 12, tied=True, loop=True)])
def test_decoding_is_the_whole_at_each_position(model):
    tokens = np.array([[1, 5, 2, 9, 0, 10], [3, 3, 8, 0, 7, 4]], np.int32)
    params = numbers(model, tokens)
    whole = model(params, tokens)
    _, cache = model.init(KEY, tokens[:, :2], decode=6)
    step = jit(lambda cache, x: model.apply(params, cache, x, decode=6))
    logits, cache = step(cache, tokens[:, :2])
    found = [logits]
    for t in range(2, 6):
        logits, cache = step(cache, tokens[:, t : t + 1])
        found.append(logits)
    np.testing.assert_allclose(fnp.concatenate(found, 1), whole, 1e-4, 1e-5)
    np.testing.assert_allclose(model(params, tokens, last=True), whole[:, -1:], 1e-5, 1e-6)


def assert_greatest(logits, prompt, following):
    """Each token is the one of the greatest logit after those before it."""
    count = following.shape[-1]
    start = prompt.shape[-1] - 1
    np.testing.assert_array_equal(
        np.argmax(logits[..., start : start + count, :], -1), np.asarray(following)
    )


@pytest.mark.parametrize(
    ("model", "dtype"),
    [(models.GPT(11, 7, 8, 2, 1), np.float32), (models.Llama(11, 8, 2, 1, 12), np.float64)],
)
def test_generate_is_the_greatest_logits_of_the_whole(model, dtype):
    prompt = np.array([[1, 5], [3, 8]], np.int32)
    params = numbers(model, prompt, dtype=dtype)
    found = models.generate(model, params, prompt, 6, temperature=0)
    assert found.dtype == prompt.dtype
    whole = jit(model)(params, np.concatenate([prompt, found[:, :-1]], -1))
    assert_greatest(whole, prompt, found)
    assert len(np.unique(found)) > 2
    cache = fst.eval_shape(lambda: empty_cache(model, params, 6, prompt))
    assert {a.dtype for a in fst.tree.leaves(cache)} == {np.dtype(dtype), np.dtype(np.int32)}
    # Without a batch, and with a single step.
    one = models.generate(model, params, prompt[0], 1, temperature=0)
    np.testing.assert_array_equal(one, found[0, :1])


def test_generate_within_jit_is_the_same():
    prompt = np.array([[1, 5], [3, 8]], np.int32)
    params = numbers(SMALL, prompt)

    def run(params, prompt, key, temperature):
        return models.generate(SMALL, params, prompt, 4, key=key, temperature=temperature)

    inputs = (params, prompt, KEY, 2.0)
    np.testing.assert_array_equal(jit(run)(*inputs), run(*inputs))


class Counting(nn.Layer):
    """A model that counts how often it is traced, but for making parameters and state."""

    inner: nn.Layer = SMALL

    def forward(self, net, tokens, **options):
        if not net.making:
            traced.append(tokens.shape)
        return net.inner(tokens, **options)


traced = []


def test_a_stream_gives_the_same_tokens():
    model, prompt = Counting(), np.array([[1, 5], [3, 8]], np.int32)
    params = numbers(model, prompt)
    options = {"temperature": 3.0, "top_k": 5, "top_p": 0.9}
    whole = np.asarray(models.generate(model, params, prompt, 5, key=random.key(3), **options))
    assert len(np.unique(whole)) > 2
    assert traced == [(2, 2), (2, 1)]
    traced.clear()
    steps = list(models.stream(model, params, prompt, 5, key=random.key(3), **options))
    np.testing.assert_array_equal(np.stack(steps, -1), whole)
    assert traced == [(2, 2), (2, 1)]
    # Another key and temperature have the same programs.
    list(models.stream(model, params, prompt, 5, key=KEY, **{**options, "temperature": 1.5}))
    assert traced == [(2, 2), (2, 1)]


def test_the_end_fills_what_comes_after_it_and_ends_a_stream():
    prompt = np.array([[1, 5], [1, 5]], np.int32)
    params = numbers(SMALL, prompt)
    options = {"key": KEY, "temperature": 1.0}
    whole = np.asarray(models.generate(SMALL, params, prompt, 6, **options))
    both = set(whole[0, :4]) & set(whole[1, :4])
    assert both, "the key must be one with which a token comes in both texts, before their ends"
    end = int(both.pop())
    expected = whole.copy()
    places = [int(np.nonzero(row == end)[0][0]) for row in whole]
    for row, place in zip(expected, places, strict=True):
        row[place:] = end
    assert (expected != whole).any()
    found = models.generate(SMALL, params, prompt, 6, end=end, **options)
    np.testing.assert_array_equal(found, expected)
    steps = list(models.stream(SMALL, params, prompt, 6, end=end, **options))
    np.testing.assert_array_equal(np.stack(steps, -1), expected[:, : max(places) + 1])


# Sampling


def kept_by_k(logits, k):
    """Those with fewer than k greater ones."""
    return [i for i, x in enumerate(logits) if sum(y > x for y in logits) < k]


def kept_by_p(logits, p):
    """Those whose greater ones have less than p together."""
    total = sum(np.exp(y) for y in logits)
    return [i for i, x in enumerate(logits) if sum(np.exp(y) for y in logits if y > x) / total < p]


# Without ties; with ties within and at the edge; equal ones; with -inf.
LOGITS = np.array(
    [
        [0.1, 2.0, -1.0, 1.5, 0.7, -3.0],
        [1.0, 2.0, 1.0, 1.0, 2.0, 0.0],
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
        [-np.inf, 3.0, -np.inf, 1.0, 1.0, -np.inf],
    ],
    np.float32,
)


@pytest.mark.parametrize("k", [1, 2, 3, 5, 6, 9])
def test_top_k(k):
    found = jit(lambda x: models.top_k_logits(x, k))(LOGITS)
    np.testing.assert_array_equal(found, models.top_k_logits(LOGITS, k))
    for row, logits in zip(np.asarray(found), LOGITS, strict=True):
        expected = np.full(6, -np.inf, np.float32)
        expected[kept_by_k(logits, k)] = logits[kept_by_k(logits, k)]
        np.testing.assert_array_equal(row, expected)


@pytest.mark.parametrize("p", [1e-6, 0.2, 0.4, 0.65, 0.9, 0.999, 1.0])
def test_top_p(p):
    found = models.top_p_logits(LOGITS, p)
    np.testing.assert_array_equal(jit(models.top_p_logits)(LOGITS, p), found)
    for row, logits in zip(np.asarray(found), LOGITS, strict=True):
        kept = kept_by_p(logits.astype(float), p)
        expected = np.full(6, -np.inf, np.float32)
        expected[kept] = logits[kept]
        np.testing.assert_array_equal(row, expected)


def test_probabilities_of_low_precision_are_summed_in_a_higher_one():
    logits = fnp.asarray(np.linspace(-1, 1, 300)).astype("bfloat16")
    exact = np.asarray(logits.astype("float64"))
    found = np.isfinite(models.top_p_logits(logits, 0.9).astype("float32"))
    assert np.nonzero(found)[0].tolist() == kept_by_p(exact, 0.9)
    draws = models.sample_logits(KEY, fnp.broadcast_to(logits, (40000, 300)))
    # The chances of quarters, whose deviations are below 0.0025.
    chances = probabilities(exact).reshape(4, 75).sum(1)
    np.testing.assert_allclose(frequencies(draws // 75, 4), chances, atol=0.0125)


def frequencies(tokens, n):
    return np.bincount(np.asarray(tokens).ravel(), minlength=n) / np.size(tokens)


def probabilities(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.5}, {"top_k": 3}, {"temperature": 2.0, "top_p": 0.8}]
)
def test_samples_have_the_probabilities(options):
    n = 20000
    logits = LOGITS[0]
    hot = logits.astype(float) / options.get("temperature", 1.0)
    kept = range(6)
    if "top_k" in options:
        kept = kept_by_k(hot, options["top_k"])
    if "top_p" in options:
        kept = kept_by_p(hot, options["top_p"])
    expected = np.zeros(6)
    expected[list(kept)] = probabilities(hot[list(kept)])
    draws = models.sample_logits(KEY, np.broadcast_to(logits, (n, 6)), **options)
    # Five standard deviations; what is not kept is never drawn.
    bound = 5 * np.sqrt(expected * (1 - expected) / n)
    assert (np.abs(frequencies(draws, 6) - expected) <= bound).all()


def test_generated_tokens_have_the_probabilities_of_the_model():
    n = 4000
    prompt = np.array([1, 5], np.int32)
    params = numbers(SMALL, prompt)
    batch = np.broadcast_to(prompt, (n, 2))
    tokens = np.asarray(models.generate(SMALL, params, batch, 2, key=KEY, temperature=0.5))
    first = probabilities(np.asarray(SMALL(params, prompt))[-1] / 0.5)
    assert first.max() > 0.2
    assert (np.abs(frequencies(tokens[:, 0], 11) - first) <= 5 * np.sqrt(first / n)).all()
    # The second, where the first is the likeliest.
    likeliest = int(first.argmax())
    chosen = tokens[tokens[:, 0] == likeliest, 1]
    after = np.array([*prompt, likeliest], np.int32)
    second = probabilities(np.asarray(SMALL(params, after))[-1] / 0.5)
    assert (np.abs(frequencies(chosen, 11) - second) <= 5 * np.sqrt(second / chosen.size)).all()


PARAMS = numbers(GPT, TOKENS)
PROMPT = np.array([1, 2], np.int32)


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: models.generate(GPT, PARAMS, PROMPT, 3), ArgumentError, "pass key="),
        (lambda: models.stream(GPT, PARAMS, PROMPT, 3), ArgumentError, "stream: pass key="),
        (lambda: models.generate(GPT, PARAMS, PROMPT, 0, key=KEY), OptionError, "one step or more"),
        (lambda: models.generate(GPT, PARAMS, PROMPT, 3, key=KEY, temperature=-1.0), OptionError,
         "must not be negative, got -1"),
        (lambda: models.generate(GPT, PARAMS, PROMPT, 3, temperature=0, top_k=3), OptionError,
         "leave out top_k and top_p"),
        (lambda: models.generate(GPT, PARAMS, PROMPT[:0], 3, key=KEY), ShapeError,
         r"one token or more, got int32\[0\]"),
        (lambda: models.generate(GPT, PARAMS, np.ones(2), 3, key=KEY), DtypeError,
         r"must be integers, got float64\[2\]"),
        (lambda: models.generate(GPT, PARAMS, PROMPT, 7, key=KEY), ShapeError,
         "decode must be within its 7 positions, got 8"),
        (lambda: models.generate(GPT, PARAMS, PROMPT, 3, key=KEY, end=1.5), DtypeError,
         r"end must be an integer, got float32\[\]"),
        (lambda: models.translate(SEQ2SEQ, {}, PROMPT, 3, start=1.5), DtypeError,
         r"start must be an integer, got float32\[\]"),
        (lambda: models.sample_logits(KEY, LOGITS, temperature=0), OptionError, "must be positive"),
        (lambda: models.top_k_logits(LOGITS, 0), OptionError, "k must be positive, got 0"),
        (lambda: models.top_p_logits(LOGITS, 0.0), OptionError, "above 0 and at most 1, got 0"),
        (lambda: models.generate(GPT, PARAMS, PROMPT, 3, key=KEY, top_p=1.5), OptionError,
         "generate: top_p must be above 0 and at most 1, got 1.5"),
        (lambda: models.generate(GPT, PARAMS, PROMPT, 3, key=KEY, top_k=0), OptionError,
         "k must be positive, got 0"),
        (lambda: models.GPT(11, 7, 8, 2, 0), OptionError, "GPT: must have one layer or more"),
        (lambda: models.Llama(11, 8, 2, 0, 8), OptionError, "Llama: must have one layer or more"),
        (lambda: models.Seq2Seq(9, 7, one_embedding=True), OptionError, "got 9 and 7"),
        (lambda: models.beam_search(SEQ2SEQ, {}, PROMPT, 2, start=1, end=2, beams=0), OptionError,
         "one beam or more, got 0"),
        (lambda: models.translate(SEQ2SEQ, {}, np.ones((1, 1, 1), int), 2, start=1), ShapeError,
         "the source must be"),
    ],
)  # fmt: skip
def test_errors(run, error, message):
    with pytest.raises(error, match=message):
        run()


# An encoder and a decoder

SOURCE = np.array([[3, 4, 5, 8], [7, 8, 6, 2]], np.int32)
TARGET = np.array([[1, 3, 4], [1, 6, 5]], np.int32)
TRANSLATING = numbers(SEQ2SEQ, SOURCE, TARGET)


def test_padding_changes_nothing():
    longer = np.pad(SOURCE, ((0, 0), (0, 3)))
    run = jit(lambda source: SEQ2SEQ(TRANSLATING, source, TARGET))
    np.testing.assert_allclose(run(longer), run(SOURCE), 1e-5, 1e-6)
    # Nor does what the padding would have been.
    table = TRANSLATING["embed_source"]["table"].copy()
    table[0] += 100
    other = {**TRANSLATING, "embed_source": {"table": table}}
    found = SEQ2SEQ(other, longer, TARGET)
    np.testing.assert_allclose(found, run(SOURCE), 1e-5, 1e-6)


def test_targets_are_seen_up_to_each_position():
    changed = TARGET.copy()
    changed[:, 2] = 0
    found, other = (SEQ2SEQ(TRANSLATING, SOURCE, t) for t in (TARGET, changed))
    np.testing.assert_array_equal(found[:, :2], other[:, :2])
    assert (np.abs(found[:, 2] - other[:, 2]) > 1e-3).any()


def test_translate_is_the_greatest_logits_of_the_whole():
    source = np.pad(SOURCE, ((0, 0), (0, 1)))
    found = models.translate(SEQ2SEQ, TRANSLATING, source, 5, start=1)
    start = np.ones((2, 1), np.int32)
    before = np.concatenate([start, found[:, :-1]], -1)
    assert_greatest(jit(SEQ2SEQ)(TRANSLATING, source, before), start, found)
    end = int(found[1, 0])
    one = models.translate(SEQ2SEQ, TRANSLATING, source[1], 5, start=1, end=end)
    np.testing.assert_array_equal(one, [end] * 5)


def test_the_encoder_runs_once():
    memory = SEQ2SEQ(TRANSLATING, SOURCE)
    assert memory.shape == (2, 4, 8)
    found = SEQ2SEQ(TRANSLATING, SOURCE, TARGET, memory=memory)
    np.testing.assert_allclose(found, SEQ2SEQ(TRANSLATING, SOURCE, TARGET), 1e-5, 1e-6)

    _, cache = SEQ2SEQ.init(KEY, SOURCE, TARGET[:, :1], decode=3)
    logits, cache = SEQ2SEQ.apply(TRANSLATING, cache, SOURCE, TARGET[:, :1],
                                  memory=memory, decode=3)  # fmt: skip
    steps = [logits]
    for t in (1, 2):
        logits, cache = SEQ2SEQ.apply(TRANSLATING, cache, SOURCE, TARGET[:, t : t + 1], decode=3)
        steps.append(logits)
    np.testing.assert_allclose(fnp.concatenate(steps, 1), found, 1e-4, 1e-5)
    # Keys and values of the memory are not made again.
    step = lambda c: SEQ2SEQ.apply(TRANSLATING, c, SOURCE, TARGET[:, :1], decode=3)
    products = str(fst.make_jaxpr(step)(cache)).count("dot_general")
    assert products == 2 * (4 + 2 + 2 + 2 + 2) + 1


def test_beam_search():
    end, steps = 2, 3
    model = models.Seq2Seq(9, 4, 8, 2, 1, 12)
    params = numbers(model, SOURCE, TARGET % 4)
    texts, scores = models.beam_search(
        model, params, SOURCE, steps, start=1, end=end, beams=64, alpha=0.7
    )
    every = np.array(list(itertools.product(range(4), repeat=steps)), np.int32)
    before = np.concatenate([np.ones((64, 1), np.int32), every[:, :-1]], -1)
    run = jit(lambda source: nn.log_softmax(model(params, source, before)))
    for source, found, found_scores in zip(SOURCE, np.asarray(texts), scores, strict=True):
        logs = np.asarray(run(np.broadcast_to(source, (64, 4))))
        expected = {}
        for text, of_text in zip(every.tolist(), logs, strict=True):
            length = text.index(end) + 1 if end in text else steps
            total = sum(float(of_text[i, text[i]]) for i in range(length))
            text = (*text[:length], *[end] * (steps - length))
            expected[text] = total / ((5 + length) / 6) ** 0.7
        best = sorted(expected, key=expected.get, reverse=True)
        assert [tuple(text) for text in found[: len(best)].tolist()] == best
        compare(found_scores[: len(best)], np.array([expected[text] for text in best]), 1e-5)
        assert (found_scores[len(best) :] == -np.inf).all()

    # One beam is greedy; without a batch.
    one, _ = models.beam_search(model, params, SOURCE[0], 5, start=1, end=end, beams=1)
    np.testing.assert_array_equal(
        one, models.translate(model, params, SOURCE[:1], 5, start=1, end=end)
    )


# Training


@pytest.mark.parametrize("name", ["gpt", "llama", "seq2seq"])
def test_a_training_step_is_one_native_call_with_attention_as_kernels(name):
    x = np.zeros((16, 128), np.int32)
    model, inputs = {
        "gpt": (models.GPT(11, 128, 16, 2, 1, dropout=0.1), [x]),
        "llama": (models.Llama(11, 16, 2, 1, 24, kv_heads=1), [x]),
        "seq2seq": (models.Seq2Seq(11, 11, 16, 2, 1, 24, one_embedding=True, tied=True), [x, x]),
    }[name]
    params, _ = made(model, *inputs)

    def loss(params, key, *inputs):
        logits = model(params, *inputs, key=key, train=True)
        return nn.cross_entropy(logits, inputs[-1])

    lowered = jit(fst.value_and_grad(loss)).lower(params, KEY, *inputs)
    report = lowered.report()
    assert report.startswith("native: ")
    assert "host" not in report
    kernels = lowered.as_text("kernels").splitlines()
    attentions = [line for line in kernels if line.startswith("attention ")]
    # Forward and backward, of each attention there is.
    assert len(attentions) == (6 if name == "seq2seq" else 2)


def test_gradients_are_finite_and_dropout_is_random():
    tokens = np.array([[1, 5, 2, 9]], np.int32)
    params, _ = SMALL.init(KEY, tokens)

    def gradients_of(model):
        def loss(params, key):
            logits = model(params, tokens[:, :-1], key=key, train=True)
            return nn.cross_entropy(logits, tokens[:, 1:])

        return jit(fst.value_and_grad(loss))

    model = models.GPT(11, 7, 8, 2, 1, dropout=0.3)
    gradients = gradients_of(model)
    first, found = gradients(params, KEY)
    assert all(np.isfinite(g).all() and np.any(g) for g in fst.tree.leaves(found))
    # Probabilities are nearly equal at first.
    assert abs(float(first) - np.log(11)) < 0.2
    assert gradients(params, random.key(1))[0] != first
    with pytest.raises(ArgumentError, match="pass key="):
        model(params, tokens, train=True)
    # What is computed again drops the same.
    again = gradients_of(models.GPT(11, 7, 8, 2, 1, dropout=0.3, checkpoint=True))(params, KEY)
    compare(again, (first, found), 1e-5)


def test_weights_begin_as_published():
    params, _ = models.GPT(50, 7, 64, 2, 8).init(KEY, TOKENS)
    block = params["block3"]
    sizes = {
        0.02: [params["embed"]["table"], block["attention"]["query"]["kernel"],
               block["feed_forward"]["hidden"]["kernel"]],
        0.02 / 4: [block["attention"]["out"]["kernel"], block["feed_forward"]["out"]["kernel"]],
    }  # fmt: skip
    for size, arrays in sizes.items():
        for a in arrays:
            np.testing.assert_allclose(np.std(a), size, 0.1)
    assert all((block["attention"][n]["bias"] == 0).all() for n in ("query", "key", "value", "out"))
    params, _ = models.Llama(50, 64, 2, 1, 80).init(KEY, TOKENS)
    for a in fst.tree.leaves(params):
        if a.ndim == 2:
            np.testing.assert_allclose(np.std(a), 0.02, 0.1)
