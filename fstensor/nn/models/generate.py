"""Text from language models, token by token, with the keys and values of those before in a cache.

>>> import fstensor as fst
>>> from fstensor.nn import models
>>> model = models.GPT(vocabulary=65, length=32, features=48, heads=4, layers=2)
>>> prompt = fst.numpy.array([1, 2, 3])
>>> params, _ = model.init(fst.random.key(0), prompt)
>>> tokens = models.generate(model, params, prompt, 8, key=fst.random.key(1), top_k=10)
>>> tokens.shape
(8,)
>>> [int(token) for token in models.stream(
...     model, params, prompt, 8, key=fst.random.key(1), top_k=10)] == tokens.tolist()
True
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from fstensor import dtypes, lax, random, tree
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike, DtypeLike
from fstensor.core.boundary import boundary
from fstensor.errors import ArgumentError, DtypeError, OptionError, ShapeError
from fstensor.nn.activations import softmax
from fstensor.nn.layer import Layer, Params, State
from fstensor.numpy.promote import inexact
from fstensor.transforms.jit import jit

# The state and tokens (..., time) -> logits (..., 1, vocabulary) of what follows, and the state.
Step: TypeAlias = Callable[[State, Array], tuple[Array, State]]
# Which token comes at a step, by its logits (..., vocabulary).
Choice: TypeAlias = Callable[[ArrayLike, Array], Array]


@boundary
def top_k_logits(logits: ArrayLike, k: int) -> Array:
    """The `k` greatest logits along the last axis; others are -inf (Fan et al., 2018, section 5).

    Those that equal the smallest that is kept are kept too. All are, where there are not more.
    Shapes: (..., n), kept. Raises: OptionError for k below 1.
    """
    logits = inexact("top_k_logits", logits)
    if k < 1:
        raise OptionError(f"top_k_logits: k must be positive, got {k}")
    if k >= logits.shape[-1]:
        return logits
    least = lax.top_k(logits, k)[0][..., -1:]
    return fnp.where(logits >= least, logits, -fnp.inf)


@boundary
def top_p_logits(logits: ArrayLike, p: ArrayLike) -> Array:
    """The fewest greatest logits whose probabilities sum to `p` or more; others are -inf.

    Holtzman et al., 2020, eq. 2. The greatest is always kept, and those that equal the smallest
    that is kept are kept too. p: a number in (0, 1]; 1 keeps all.
    Shapes: (..., n), kept. Raises: OptionError for another p, if it is known.
    """
    logits = inexact("top_p_logits", logits)
    _check_p("top_p_logits: p", p)
    descending = -fnp.sort(-logits, axis=-1)
    probabilities = softmax(descending.astype(wide(logits)), axis=-1)
    before = fnp.cumsum(probabilities, axis=-1) - probabilities
    # As 0 stands before the greatest, it is kept whatever rounding does.
    kept = (before < p) | (fnp.asarray(p) >= 1)
    least = fnp.where(kept, descending, fnp.inf).min(axis=-1, keepdims=True)
    return fnp.where(logits >= least, logits, -fnp.inf)


def _check_p(what: str, p: ArrayLike) -> None:
    if isinstance(p, (int, float)) and not 0 < p <= 1:
        raise OptionError(f"{what} must be above 0 and at most 1, got {p}")


@boundary
def sample_logits(
    key: ArrayLike,
    logits: ArrayLike,
    *,
    temperature: ArrayLike = 1.0,
    top_k: int | None = None,
    top_p: ArrayLike | None = None,
) -> Array:
    """Indices along the last axis, with probabilities softmax(logits / temperature).

    top_k, top_p: which are possible at all, as in `top_k_logits` and, of what that keeps, in
        `top_p_logits`.
    Shapes: logits (..., n) -> (...). Raises: OptionError for a temperature that is not positive,
        and as those functions.
    """
    if isinstance(temperature, (int, float)) and temperature <= 0:
        raise OptionError(
            f"sample_logits: the temperature must be positive, got {temperature}; argmax is the "
            "limit at 0"
        )
    logits = inexact("sample_logits", logits)
    logits = logits.astype(wide(logits)) / temperature
    if top_k is not None:
        logits = top_k_logits(logits, top_k)
    if top_p is not None:
        logits = top_p_logits(logits, top_p)
    return random.categorical(key, logits)


def generate(
    model: Layer,
    params: Params,
    prompt: ArrayLike,
    steps: int,
    *,
    key: ArrayLike | None = None,
    temperature: ArrayLike = 1.0,
    top_k: int | None = None,
    top_p: ArrayLike | None = None,
    end: int | None = None,
) -> Array:
    """The `steps` tokens that follow a prompt, drawn from a model such as `GPT` or `Llama`.

    The model runs once for the prompt and then, in one loop of a compiled program, for each token.
    key: random; each step has one of its own. temperature: logits are divided by it; the Python
        number 0 takes the greatest instead, and needs no key.
    top_k, top_p: as in `sample_logits`. end: the token that ends a text; only it follows.
    Shapes: prompt (batch, time) or (time,) -> (batch, steps) or (steps,).
    Raises: ArgumentError without a key, OptionError for numbers out of range, ShapeError and
        DtypeError for another prompt, and what the model raises, as for too many positions.
    """
    tokens = checked_tokens("generate", "prompt", prompt, steps)
    how = choices("generate", key, temperature, top_k, top_p, end)
    found: Array = _generate(model, params, tokens, how, steps=steps, top_k=top_k)
    return found


def stream(
    model: Layer,
    params: Params,
    prompt: ArrayLike,
    steps: int,
    *,
    key: ArrayLike | None = None,
    temperature: ArrayLike = 1.0,
    top_k: int | None = None,
    top_p: ArrayLike | None = None,
    end: int | None = None,
) -> Iterator[Array]:
    """The tokens of `generate`, each as soon as it is there, until all texts have ended.

    One program is compiled for the prompt, and one for all further steps. Arguments and errors: as
    in `generate`. Yields arrays (batch,), or () for a prompt without batch.
    """
    tokens = checked_tokens("stream", "prompt", prompt, steps)
    how = choices("stream", key, temperature, top_k, top_p, end)
    return _streamed(model, params, tokens, how, steps, top_k)


def checked_tokens(what: str, name: str, tokens: ArrayLike, steps: int) -> Array:
    """Tokens that are given. Raises: for other shapes and dtypes, and for less than one step."""
    found = fnp.asarray(tokens)
    if found.ndim not in (1, 2) or not found.shape[-1]:
        raise ShapeError(
            f"{what}: the {name} must be (batch, time) or (time,), of one token or more, got "
            f"{found.aval}"
        )
    if not dtypes.is_integer(found.dtype):
        raise DtypeError(f"{what}: the {name} must be integers, got {found.aval}")
    if steps < 1:
        raise OptionError(f"{what}: there must be one step or more, got {steps}")
    return found


def wide(x: Array) -> dtypes.Dtype:
    """The dtype for probabilities of logits like these: of 32 bits or more."""
    return dtypes.to_inexact(fnp.promote_types(x.dtype, np.float32))


def check_token(what: str, name: str, token: ArrayLike | None) -> None:
    if token is not None and not dtypes.is_integer(fnp.asarray(token).dtype):
        raise DtypeError(f"{what}: {name} must be an integer, got {fnp.asarray(token).aval}")


def choices(
    what: str,
    key: ArrayLike | None,
    temperature: ArrayLike,
    top_k: int | None,
    top_p: ArrayLike | None,
    end: int | None,
) -> dict[str, Any]:
    """How to choose tokens, as a tree: None for what is not done."""
    check_token(what, "end", end)
    known = float(temperature) if isinstance(temperature, (int, float)) else None
    if known is not None and known < 0:
        raise OptionError(f"{what}: the temperature must not be negative, got {temperature}")
    if known == 0:
        if top_k is not None or top_p is not None:
            raise OptionError(
                f"{what}: at temperature 0 only the greatest is possible; leave out top_k and top_p"
            )
        return {"key": None, "temperature": None, "top_p": None, "end": end}
    if top_p is not None:
        _check_p(f"{what}: top_p", top_p)
    if key is None:
        raise ArgumentError(f"{what}: pass key=..., a random key, or temperature=0")
    return {"key": key, "temperature": temperature, "top_p": top_p, "end": end}


def choice(how: dict[str, Any], top_k: int | None) -> Choice:
    """The function that chooses tokens in the way that `choices` gives."""
    if how["key"] is None:
        return lambda number, logits: fnp.argmax(logits, axis=-1)

    def draw(number: ArrayLike, logits: Array) -> Array:
        return sample_logits(
            random.fold_in(how["key"], number),
            logits,
            temperature=how["temperature"],
            top_k=top_k,
            top_p=how["top_p"],
        )

    return draw


def _chosen(
    choose: Choice, number: ArrayLike, logits: Array, ended: Array, end: Any, kind: DtypeLike
) -> tuple[Array, Array]:
    """The token of a step, and whether its text has ended."""
    token = choose(number, logits[..., -1, :]).astype(kind)
    if end is None:
        return token, ended
    token = fnp.where(ended, fnp.asarray(end, kind), token)
    return token, token == end


def decoded(
    step: Step,
    logits: Array,
    cache: State,
    steps: int,
    choose: Choice,
    end: ArrayLike | None,
    kind: DtypeLike,
) -> Array:
    """The tokens (..., steps) that follow where there are these logits (..., 1, vocabulary)."""

    def one(carry: Any, number: Array) -> Any:
        token, ended, cache = carry
        logits, cache = step(cache, token[..., None])
        token, ended = _chosen(choose, number, logits, ended, end, kind)
        return (token, ended, cache), token

    none = fnp.zeros(logits.shape[:-2], bool)
    first, ended = _chosen(choose, 0, logits, none, end, kind)
    _, others = lax.scan(one, (first, ended, cache), fnp.arange(1, steps))
    return fnp.moveaxis(fnp.concatenate([first[None], others]), 0, -1)


def empty_cache(model: Layer, params: Params, size: int, *inputs: Any, **options: Any) -> State:
    """The state with which a model begins to decode `size` tokens, in the dtype of its parameters.

    Within jit, nothing else of `init` is computed.
    """
    _, state = model.init(random.key(0), *inputs, decode=size, **options)
    floats = [p.dtype for p in tree.leaves(params) if dtypes.is_float(p.dtype)]
    kind = fnp.result_type(*floats) if floats else np.dtype(np.float32)
    made: State = tree.map(lambda s: s.astype(kind) if dtypes.is_float(s.dtype) else s, state)
    return made


def _step(model: Layer, params: Params, size: int) -> Step:
    return lambda cache, tokens: model.apply(params, cache, tokens, decode=size, last=True)


@partial(jit, static_argnames=("model", "steps", "top_k"))
def _generate(
    model: Layer,
    params: Params,
    prompt: Array,
    how: dict[str, Any],
    *,
    steps: int,
    top_k: int | None,
) -> Array:
    # The last token is not continued.
    size = prompt.shape[-1] + steps - 1
    step = _step(model, params, size)
    logits, cache = step(empty_cache(model, params, size, prompt), prompt)
    return decoded(step, logits, cache, steps, choice(how, top_k), how["end"], prompt.dtype)


@partial(jit, static_argnames=("model", "size"))
def _begun(model: Layer, params: Params, prompt: Array, *, size: int) -> State:
    return empty_cache(model, params, size, prompt)


@partial(jit, static_argnames=("model", "size", "top_k"), donate_argnames="cache")
def _following(
    model: Layer,
    params: Params,
    cache: State,
    tokens: Array,
    number: Array,
    ended: Array,
    how: dict[str, Any],
    *,
    size: int,
    top_k: int | None,
) -> tuple[Array, Array, State]:
    logits, cache = _step(model, params, size)(cache, tokens)
    choose = choice(how, top_k)
    return *_chosen(choose, number, logits, ended, how["end"], tokens.dtype), cache


def _streamed(
    model: Layer,
    params: Params,
    prompt: Array,
    how: dict[str, Any],
    steps: int,
    top_k: int | None,
) -> Iterator[Array]:
    size = prompt.shape[-1] + steps - 1
    cache = _begun(model, params, prompt, size=size)
    tokens, ended = prompt, fnp.zeros(prompt.shape[:-1], bool)
    for number in range(steps):
        token, ended, cache = _following(
            model,
            params,
            cache,
            tokens,
            fnp.asarray(number),
            ended,
            how,
            size=size,
            top_k=top_k,
        )
        yield token
        if how["end"] is not None and bool(ended.all()):
            return
        tokens = token[..., None]
