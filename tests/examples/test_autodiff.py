"""The examples about functions of one and two variables."""

import contextlib
import io
import math

import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.examples import autodiff1d, autodiff2d


def run(module, *options):
    """What an example finds, and what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        found = module.main(options)
    return found, output.getvalue()


@pytest.fixture(scope="module")
def one():
    return run(autodiff1d)


@pytest.fixture(scope="module")
def two():
    return run(autodiff2d, "--steps", "15000")


# One variable


def test_all_that_is_computed_is_exact(one):
    found, _ = one
    assert found.worst() < 1e-12
    named = {name: value for name, value, _ in found.rows}
    assert len(named) == 7 + 7 + 3
    assert named["root"] == pytest.approx(math.pi, abs=1e-14)
    assert named["Taylor coefficient of x^3"] == pytest.approx(1 / 3, abs=1e-14)


def test_table_of_one_variable(one):
    found, output = one
    lines = output.splitlines()
    assert lines[0].startswith("root  step 1  x = 3.16624")
    assert "minimum  step 50  x = -0.785398163397448" in lines
    assert output.endswith(f"{found}\n")
    assert str(found).splitlines()[0].split() == ["computed", "exact", "difference"]
    assert str(found).splitlines()[-1].startswith("minimum at  ")


def test_worst_looks_at_all_rows():
    found = autodiff1d.Found((("a", 1.0, 1.0), ("b", 2.0, 1.5), ("c", 0.0, 0.25)))
    assert found.worst() == 0.5


def test_seed_chooses_the_point(one):
    again, _ = run(autodiff1d)
    other, _ = run(autodiff1d, "--seed", "1", "--orders", "2")
    assert again == one[0]
    assert other.rows[0][0] != again.rows[0][0]
    assert [name for name, *_ in other.rows[3:6]] == [
        f"Taylor coefficient of x^{n}" for n in range(3)
    ]
    assert other.worst() < 1e-12


# Two variables


def test_derivatives_and_minima(two):
    found, _ = two
    assert found.worst < 1e-12
    descents = found.descents
    assert list(descents) == ["gradient descent", "Newton", "L-BFGS"]
    assert descents["Newton"].distance() < 1e-12
    assert descents["L-BFGS"].distance() < 1e-5
    assert 1e-5 < descents["gradient descent"].distance() < 1e-2
    assert descents["gradient descent"].path.shape == (15000, 2)
    assert all(d.path.dtype == fnp.float64 for d in descents.values())


def test_table_and_picture_of_two_variables(two):
    found, output = two
    assert output.endswith(f"\n\n{found}\n")
    assert str(found).startswith("method             steps               ends at  value there\n")
    assert "Newton                 8  (1.000000, 1.000000)" in output
    assert output.count("Hessian ") == 4
    rows = output.split("minimum at (1, 1)\n")[1].splitlines()[: autodiff2d.ROWS]
    assert {len(row) for row in rows} == {autodiff2d.COLUMNS}
    # The start is at (-1.2, 1), the end at (1, 1), which lie in the same row.
    assert rows[6].index("0") == round(0.4 / 3.2 * 63)
    assert rows[6].index("8") == round(2.6 / 3.2 * 63)


def test_picture_leaves_out_what_lies_outside():
    path = fnp.asarray([[0.0, 0.5], [9.0, 0.5], [0.0, -9.0]])
    text = autodiff2d.picture(lambda p: fnp.sum(p**2), path)
    assert "0" in text
    assert "1" not in text
    assert "2" not in text


def test_settings_are_as_before(one, two):
    assert fst.config.default_dtype_bits == 32


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (autodiff1d, ["--orders", "0"], "argument --orders: must be positive and finite, got 0"),
        (autodiff1d, ["--seed", "-1"], "argument --seed: must be from 0 to 4294967295, got -1"),
        (autodiff2d, ["--steps", "many"], "argument --steps: invalid int value: 'many'"),
        (autodiff2d, ["--lr", "nan"], "argument --lr: must be positive and finite, got nan"),
    ],
)
def test_bad_options(module, options, message, capsys):
    with pytest.raises(SystemExit) as error:
        module.main(options)
    assert error.value.code == 2
    assert message in capsys.readouterr().err
