"""What users meet when they err: the class, the shapes, the user's own line, and the remedy."""

import builtins
import inspect
import pickle
import re

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors, lax

X = np.float32([0.3, -1.2, 2.0])
M = np.ones((2, 3), np.float32)


def caught(kind, call, function=None):
    """The error that `call` raises, checked to name a line of `function` (`call` by default)."""
    with pytest.raises(kind) as info:
        call()
    function = function or call
    error = info.value
    assert isinstance(error, errors.FstensorError)
    lines, first = inspect.getsourcelines(function)
    place = re.search(r"; at .*test_errors\.py:(\d+)$", str(error))
    assert place, f"no line of the user's in: {error}"
    assert first <= int(place[1]) < first + len(lines), f"another line is named in: {error}"
    return str(error)


def test_every_class_is_a_builtin_too():
    classes = [
        c
        for _, c in inspect.getmembers(errors, inspect.isclass)
        if c.__module__ == errors.__name__ and c is not errors.FstensorError
    ]
    assert len(classes) > 15
    for c in classes:
        assert issubclass(c, errors.FstensorError)
        assert any(
            issubclass(c, b) and b not in (Exception, BaseException)
            for b in vars(builtins).values()
            if inspect.isclass(b) and issubclass(b, Exception)
        )
        assert c.__name__ in errors.__doc__, "drawn in the tree"


def test_errors_survive_pickling():
    with pytest.raises(errors.ShapeError) as info:
        lax.add(X, M)
    again = pickle.loads(pickle.dumps(info.value))
    assert str(again) == str(info.value)


def test_shapes_that_do_not_broadcast():
    def user():
        return lax.add(M, M.T)

    assert caught(errors.ShapeError, user).startswith(
        "add: shapes must agree, got float32[2,3] and float32[3,2]; "
        "axes of size 1 stretch, other sizes must be equal; at "
    )

    def of_numpy():
        return fnp.add(M, M.T)

    assert "float32[2,3] and float32[3,2]" in caught(ValueError, of_numpy)


@pytest.mark.parametrize("transform", [fst.jit, fst.vmap, fst.grad, lambda f: fst.jit(fst.vmap(f))])
def test_transforms_raise_what_the_function_raises(transform):
    mistakes = [
        lambda x: lax.add(x, fnp.ones((2, 3))),
        lambda x: lax.add(x, fnp.arange(3)),
        lambda x: fnp.sum(x, axis=2),
        lambda x: fnp.reshape(x, (7,)),
        lambda x: fnp.asarray(x)[5],
        lambda x: fnp.sin([x]),
    ]
    for user in mistakes:
        eager = caught(errors.FstensorError, lambda f=user: f(X), user)
        batched = transform not in (fst.jit, fst.grad)
        argument = np.stack([X, X]) if batched else X
        traced = caught(errors.FstensorError, lambda f=user, a=argument: transform(f)(a), user)
        assert traced == eager


def test_contracting_sizes():
    def user():
        return lax.dot(M, M)

    text = caught(errors.ShapeError, user)
    assert text.startswith(
        "dot_general: contracting sizes must match, got float32[2,3] and float32[2,3] (3 != 2)"
    )


def test_dtypes():
    def user():
        return lax.add(X, np.arange(3))

    assert caught(errors.DtypeError, user).startswith(
        "add: dtypes must be equal, got float32[3] and int64[3]; convert with astype, "
        "or use fstensor.numpy, which promotes; at "
    )

    def of_kind():
        return lax.sin(np.arange(3))

    assert caught(TypeError, of_kind).startswith(
        "sin: takes a float or complex dtype, got int64[3]; convert with astype"
    )


def test_lists_are_no_arrays():
    def user():
        return fnp.sin([1.0, 2.0])

    assert "got list; convert it with fstensor.numpy.asarray" in caught(errors.ArgumentError, user)


@pytest.mark.parametrize("transform", [fst.jit, fst.vmap])
def test_tracer_to_bool(transform):
    def user(x):
        return x if x > 0 else -x

    text = caught(
        errors.TracerBoolConversionError,
        lambda: transform(user)(X[:1] if transform is fst.vmap else X[0]),
        user,
    )
    assert f"tracing user at tests/test_errors.py:{user.__code__.co_firstlineno}" in text
    assert "got bool[]" in text
    assert "fstensor.numpy.where" in text
    assert f"made at tests/test_errors.py:{user.__code__.co_firstlineno + 1}" in text or (
        transform is fst.vmap
    )


def test_branching_on_a_differentiated_value_is_fine():
    assert float(fst.grad(lambda x: x * x if x > 0 else -x)(3.0)) == 6.0
    assert float(fst.grad(lambda x: x * x if x else x)(3.0)) == 6.0


@pytest.mark.parametrize("transform", [fst.jit, fst.vmap, fst.grad])
def test_tracer_to_numpy(transform):
    def user(x):
        return np.asarray(x).sum()

    text = caught(errors.TracerArrayConversionError, lambda: transform(user)(X), user)
    assert "got float32[" in text
    assert "fstensor.numpy" in text


def test_tracer_to_python_number():
    def user(x):
        return float(x) * x

    for transform in (fst.jit, fst.grad):
        text = caught(errors.ConcretizationTypeError, lambda t=transform: t(user)(2.0), user)
        assert "float() of a traced value is not known" in text
        assert "static_argnums" in text


def test_tracer_as_index():
    def of_list(i):
        return [1, 2, 3][i]

    assert "a Python index made of" in caught(
        errors.TracerIntegerConversionError, lambda: fst.jit(of_list)(1), of_list
    )

    def of_ndarray(i):
        return X[i]

    with pytest.raises((errors.TracerIntegerConversionError, errors.TracerArrayConversionError)):
        fst.jit(of_ndarray)(1)


def test_in_place_on_an_ndarray():
    def user(x):
        n = np.zeros(3, np.float32)
        n += x
        return n

    text = caught(errors.TracerArrayConversionError, lambda: fst.jit(user)(X), user)
    assert "n = n + x" in text


def test_leaked_tracer():
    leaked = []

    def user(x):
        y = x * 2
        leaked.append(y)
        return y

    fst.jit(user)(X)

    def use():
        return leaked[0] + 1

    text = caught(errors.UnexpectedTracerError, use)
    line = user.__code__.co_firstlineno
    assert f"traced by jit of {user.__name__} at tests/test_errors.py:{line}" in text
    assert "got float32[3]" in text
    assert f"made at tests/test_errors.py:{line + 1}" in text
    assert "return it from the function" in text


@pytest.mark.parametrize("transform", [fst.grad, fst.vmap])
def test_leaked_tracer_of(transform):
    leaked = []
    transform(lambda x: leaked.append(x) or x)(X if transform is fst.vmap else 1.0)

    def use():
        return leaked[0] * 2

    assert f"by {transform.__name__} of" in caught(errors.UnexpectedTracerError, use)

    def use_in_another():
        return fst.jit(lambda y: y + leaked[0])(1.0)

    caught(errors.UnexpectedTracerError, use_in_another)


def test_grad_of_what_is_not_scalar():
    def loss(x):
        return x * 2

    def user():
        return fst.grad(loss)(X)

    text = caught(errors.GradError, user)
    assert f"loss at tests/test_errors.py:{loss.__code__.co_firstlineno}" in text
    assert "must return a scalar, got float32[3]; reduce it" in text

    def of_tuple():
        return fst.grad(lambda x: (x, x))(1.0)

    assert "got a tuple; set has_aux=True" in caught(TypeError, of_tuple)

    def of_integer():
        return fst.grad(lambda x: fnp.argmax(x))(X)

    assert "must return real values of float dtype, got int32[]" in caught(TypeError, of_integer)


def test_grad_by_an_integer():
    def loss(params, x):
        return params["w"] * x

    def user():
        return fst.grad(loss)({"w": 3}, 2.0)

    text = caught(errors.GradError, user)
    assert "got int32[] for params['w'] of loss" in text
    assert "allow_int=True" in text


def test_wrong_tree():
    def user():
        return fst.tree.map(lambda a, b: a, {"a": 1, "b": (2, 3)}, {"a": 1, "b": (2, 3, 4)})

    text = caught(errors.TreeError, user)
    assert "['b']" in text


def test_wrong_axis():
    def user():
        return fnp.sum(X, axis=3)

    for kind in (errors.AxisError, ValueError, IndexError):
        assert "axis 3 does not exist in an array of 1 dimension" in caught(kind, user)

    def twice():
        return fnp.sum(M, axis=(0, -2))

    assert "axes must be distinct" in caught(errors.AxisError, twice)


def test_static_index_out_of_bounds():
    def user():
        return fnp.asarray(X)[5]

    text = caught(IndexError, user)
    assert "5" in text
    assert "float32[3]" in text


def test_mutated_array():
    x = fnp.asarray(X)

    def user():
        x[0] = 1.0

    assert "arrays are immutable" in caught(errors.ImmutableArrayError, user)
    assert "x.at[...].set(value)" in caught(TypeError, user)
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(x)[0] = 1.0


def test_mixed_devices(monkeypatch):
    from fstensor import device
    from fstensor.array import from_buffer

    class OnGpu(np.ndarray):
        """Stands for a CuPy buffer where there is no GPU."""

    a = from_buffer(X)
    b = from_buffer(X.view(OnGpu))
    here = device.device_of
    monkeypatch.setattr(
        device,
        "device_of",
        lambda x: device.Device("cuda:0") if isinstance(x, OnGpu) else here(x),
    )

    def user():
        return a + b

    text = caught(errors.DeviceError, user)
    assert "float32[3] on cpu and float32[3] on cuda:0" in text
    assert "device_put" in text


def test_unknown_device():
    def user():
        return fst.device_put(X, "tpu:0")

    assert "no device 'tpu:0'" in caught(errors.DeviceError, user)


def test_unbound_axis_name():
    def user():
        return lax.psum(X, "i")

    text = caught(errors.UnboundAxisNameError, user)
    assert "no enclosing vmap binds 'i'" in text
    with pytest.raises(NameError):
        user()


def test_missing_rule():
    from fstensor.core.primitive import Primitive, primitive, registry

    try:

        @primitive("test_bare")
        class Bare(Primitive):
            def abstract(self, x):
                return x

            def impl(self, xp, x):
                return x

        def user():
            return fst.grad(lambda x: Bare().bind(x))(1.0)

        text = caught(errors.MissingRuleError, user)
        assert text.startswith("test_bare: has no jvp rule, which forward- and reverse-mode")
        assert "write Bare.jvp in tests.test_errors" in text
        with pytest.raises(NotImplementedError, match="no batch rule, which vmap needs"):
            fst.vmap(Bare().bind)(X)
        with pytest.raises(ValueError, match="two primitives are named 'test_bare'"):
            primitive("test_bare")(Bare)
    finally:
        registry.pop("test_bare", None)


def test_settings():
    def unknown():
        fst.config.update("dtype_bits", 32)

    assert "no setting 'dtype_bits'" in caught(errors.OptionError, unknown)

    def value():
        fst.config.update("default_dtype_bits", 16)

    assert "takes 32 or 64, got 16" in caught(ValueError, value)


def test_array_class_cannot_be_called():
    def user():
        return fst.Array()

    assert "use fstensor.numpy.array" in caught(errors.ArgumentError, user)
