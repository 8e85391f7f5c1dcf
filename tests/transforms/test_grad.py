import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.errors import ArgumentError, GradError, OptionError
from tests.tolerances import assert_close

X = np.float32([0.3, -1.2, 2.0])


def test_argnums():
    def f(x, y, z):
        return x * y + z

    assert float(fst.grad(f)(2.0, 3.0, 4.0)) == 3.0
    assert float(fst.grad(f, argnums=1)(2.0, 3.0, 4.0)) == 2.0
    assert float(fst.grad(f, argnums=-1)(2.0, 3.0, 4.0)) == 1.0
    both = fst.grad(f, argnums=(1, 0))(2.0, 3.0, 4.0)
    assert [float(g) for g in both] == [2.0, 3.0]
    assert isinstance(fst.grad(f, argnums=(0,))(2.0, 3.0, 4.0), tuple)


def test_keyword_arguments_are_not_differentiated():
    assert float(fst.grad(lambda x, *, scale: x * scale)(2.0, scale=5.0)) == 5.0


def test_pytree():
    params = {"w": X, "b": (np.float32(1.0), None)}
    grads = fst.grad(lambda p: fnp.sum(p["w"] ** 2) + 3 * p["b"][0])(params)
    assert_close(grads["w"], 2 * X)
    assert float(grads["b"][0]) == 3.0
    assert grads["b"][1] is None


def test_has_aux():
    value_aux, grad = fst.value_and_grad(lambda x: (x * x, {"twice": 2 * x}), has_aux=True)(3.0)
    assert float(value_aux[0]) == 9.0
    assert float(value_aux[1]["twice"]) == 6.0
    assert float(grad) == 6.0
    grad, aux = fst.grad(lambda x: (x * x, {"twice": 2 * x}), has_aux=True)(3.0)
    assert (float(grad), float(aux["twice"])) == (6.0, 6.0)
    _, aux = fst.grad(lambda x: (x * x, ["note", x + 1, len]), has_aux=True)(3.0)
    assert aux[0] == "note"
    assert float(aux[1]) == 4.0
    assert aux[2] is len
    with pytest.raises(ArgumentError, match=r"has_aux=True the function must return a pair"):
        fst.grad(lambda x: x, has_aux=True)(3.0)


def test_argument_that_is_not_used():
    assert_close(fst.grad(lambda x, y: fnp.sum(y))(X, X), np.zeros(3, np.float32))


def test_allow_int():
    grad = fst.grad(lambda n, x: n * x, argnums=(0, 1), allow_int=True)(3, 2.0)
    assert grad[0].dtype == fst.float0
    assert float(grad[1]) == 3.0


def test_dtype_of_gradient_is_that_of_the_argument():
    for dtype in (np.float16, np.float32, np.float64, fst.dtypes.bfloat16):
        x = np.asarray([1.0, 2.0]).astype(dtype)
        assert fst.grad(lambda x: fnp.sum(x * x))(x).dtype == x.dtype


def test_complex_gradient_convention():
    z = np.complex64(1.0 + 2.0j)
    ours = fst.grad(lambda z: fnp.real(z * z * z))(z)
    theirs = jax.grad(lambda z: jnp.real(z * z * z))(z)
    assert_close(ours, theirs)
    assert_close(fst.grad(lambda z: fnp.abs(z))(z), jax.grad(lambda z: jnp.abs(z))(z))


def test_holomorphic():
    z = np.complex64(1.0 + 2.0j)
    assert_close(fst.grad(lambda z: z**3, holomorphic=True)(z), np.complex64(3 * z**2))
    with pytest.raises(GradError, match=r"every argument must be complex, got float32\[\] for x"):
        fst.grad(lambda x: x, holomorphic=True)(1.0)
    with pytest.raises(GradError, match=r"must return a real scalar|must return real values"):
        fst.grad(lambda z: z * z)(z)


def test_jacobians_agree_with_jax():
    def f(np_):
        return lambda p, x: {"a": np_.outer(p["w"], x), "b": np_.sum(p["w"]) * p["s"]}

    p = {"w": X, "s": np.float32(2.0)}
    for transform in ("jacfwd", "jacrev"):
        ours = getattr(fst, transform)(f(fnp), argnums=(0, 1))(p, X[:2])
        theirs = getattr(jax, transform)(f(jnp), argnums=(0, 1))(p, X[:2])
        assert fst.tree.structure(ours) == fst.tree.structure(fst.tree.map(lambda x: 0, theirs))
        for a, b in zip(fst.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            assert_close(a, b)


def test_jacobian_has_aux():
    for transform in (fst.jacfwd, fst.jacrev):
        jac, aux = transform(lambda x: (x * x, x + 1), has_aux=True)(X)
        assert_close(jac, np.diag(2 * X))
        assert_close(aux, X + 1)


def test_jacobian_of_empty_and_scalar():
    assert fst.jacrev(lambda x: x * 2)(np.zeros((0,), np.float32)).shape == (0, 0)
    assert_close(fst.jacfwd(lambda x: x * x)(3.0), np.float32(6.0))


def test_hessian_agrees_with_jax():
    def f(np_):
        return lambda x: np_.sum(np_.sin(x) * x[0]) + np_.prod(x)

    assert_close(fst.hessian(f(fnp))(X), jax.hessian(f(jnp))(X), derivative=True)


def test_argnums_out_of_range():
    with pytest.raises(OptionError, match=r"argnums=2 names an argument that was not passed"):
        fst.grad(lambda x: x, argnums=2)(1.0)


def test_kinks_follow_jax():
    def at(f_ours, f_theirs, x):
        x = np.float32(x)
        np.testing.assert_array_equal(
            np.asarray(fst.grad(lambda x: fnp.sum(f_ours(x)))(x)),
            np.asarray(jax.grad(lambda x: jnp.sum(f_theirs(x)))(x)),
        )

    at(fnp.abs, jnp.abs, [0.0, -1.0, 1.0])
    at(lambda x: fnp.maximum(x, 0), lambda x: jnp.maximum(x, 0), [0.0, -1.0, 1.0])
    at(lambda x: fnp.minimum(x, 0), lambda x: jnp.minimum(x, 0), [0.0, -1.0, 1.0])
    at(lambda x: fnp.maximum(x, x), lambda x: jnp.maximum(x, x), [0.0, -1.0])
    at(fnp.max, jnp.max, [2.0, 1.0, 2.0])
    at(fnp.min, jnp.min, [2.0, 1.0, 1.0])
    at(lambda x: fnp.clip(x, 0, 1), lambda x: jnp.clip(x, 0, 1), [0.0, 1.0, 0.5, 2.0])
    at(lambda x: x**2, lambda x: x**2, [0.0, -1.0])
    at(lambda x: x**0.5, lambda x: x**0.5, [0.0, 1.0])
    at(fnp.sign, jnp.sign, [0.0, -1.0])
    at(fnp.sqrt, jnp.sqrt, [0.0, 1.0])
    at(fnp.floor, jnp.floor, [0.0, 1.5])
