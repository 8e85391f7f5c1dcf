"""What the examples read: the digits in the package, and files as their authors publish them."""

import gzip
import re
import sys

import numpy as np
import pytest

from fstensor.examples import datasets
from tests.examples.files import write_faces, write_idx, write_images


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 4, 5), np.uint8)


def test_digits_are_split():
    train, test = datasets.digits()
    assert train.inputs.shape == (1438, 8, 8, 1)
    assert test.inputs.shape == (359, 8, 8, 1)
    assert train.inputs.dtype == np.float32
    assert train.labels.dtype == np.int32
    assert train.inputs.min() == 0
    assert train.inputs.max() == 1
    assert test.labels[:3].tolist() == [4, 9, 4]
    assert len(train.labels) + len(test.labels) == 1797


# Files of MNIST's format


def test_idx(tmp_path, pixels):
    write_idx(tmp_path / "a.gz", pixels)
    found = datasets.idx(tmp_path / "a.gz")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("load", [datasets.mnist, datasets.fashion_mnist])
def test_images_and_labels(tmp_path, pixels, load):
    labels = np.array([3, 1, 4, 1, 5, 9], np.uint8)
    write_images(tmp_path / load.__name__, (pixels, labels), (pixels[:2], labels[:2]))
    train, test = load(tmp_path)
    assert train.inputs.shape == (6, 4, 5, 1)
    assert train.inputs.dtype == np.float32
    np.testing.assert_allclose(train.inputs[..., 0], pixels / 255, rtol=1e-6)
    assert train.labels.dtype == np.int32
    assert train.labels.tolist() == labels.tolist()
    assert test.inputs.shape == (2, 4, 5, 1)


def test_images_without_labels(tmp_path, pixels):
    labels = np.zeros(5, np.uint8)
    write_images(tmp_path / "mnist", (pixels, labels), (pixels, labels))
    with pytest.raises(ValueError, match="mnist: 6 images, but 5 labels"):
        datasets.mnist(tmp_path)


@pytest.mark.parametrize(
    ("load", "path", "published"),
    [
        (datasets.mnist, "mnist/train-images-idx3-ubyte.gz", "http://yann.lecun.com"),
        (datasets.fashion_mnist, "fashion_mnist/train-images-idx3-ubyte.gz", "https://github.com"),
        (datasets.olivetti, "olivetti/olivettifaces.mat", "https://cs.nyu.edu"),
    ],
)
def test_missing_files(tmp_path, load, path, published):
    message = re.escape(f"{tmp_path / path} is not there; its authors publish it at {published}")
    with pytest.raises(FileNotFoundError, match=message):
        load(tmp_path)


def cut_short(data):
    return gzip.compress(gzip.decompress(data)[:-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut_short, r"a\.gz: must hold an array of shape \(6, 4, 5\), has another length"),
        (lambda data: gzip.compress(gzip.decompress(data)[:9]), "has another length"),
        (lambda data: gzip.compress(b"\x00\x00\x08"), "not an idx file of bytes"),
        (lambda data: gzip.compress(b"\x00\x00\x0d\x01" + bytes(8)), "not an idx file of bytes"),
        (lambda data: data[:-20], r"a\.gz: not a whole gzip file"),
        (lambda data: b"no gzip file", r"a\.gz: not a whole gzip file"),
        (lambda data: data[:12] + b"\xff" * 20 + data[32:], r"a\.gz: not a whole gzip file"),
    ],
)
def test_corrupt_idx(tmp_path, pixels, change, message):
    path = tmp_path / "a.gz"
    write_idx(path, pixels)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        datasets.idx(path)


# Faces


def test_faces_stand_upright(tmp_path):
    columns = np.random.default_rng(0).integers(0, 256, (4096, 400), np.uint8)
    write_faces(tmp_path, columns)
    faces = datasets.olivetti(tmp_path)
    assert faces.inputs.shape == (400, 64, 64, 1)
    assert faces.inputs.dtype == np.float32
    # The file has the pixels of a face from top to bottom, one column of the image after the other.
    assert faces.inputs[7, 3, 60, 0] == pytest.approx(columns[60 * 64 + 3, 7] / 255)
    assert faces.labels.tolist() == [n // 10 for n in range(400)]
    assert faces.labels.dtype == np.int32


def test_faces_of_another_shape(tmp_path):
    write_faces(tmp_path, np.zeros((3, 4), np.uint8))
    with pytest.raises(ValueError, match=r"faces must have shape \(4096, 400\), got \(3, 4\)"):
        datasets.olivetti(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no MATLAB file" * 20])
def test_corrupt_faces(tmp_path, content):
    write_faces(tmp_path, np.zeros((3, 4), np.uint8))
    (tmp_path / "olivetti" / "olivettifaces.mat").write_bytes(content)
    with pytest.raises(ValueError, match=r"olivettifaces\.mat: no MATLAB file with the faces"):
        datasets.olivetti(tmp_path)


def test_file_without_faces(tmp_path):
    write_faces(tmp_path, np.zeros((3, 4), np.uint8), name="places")
    with pytest.raises(ValueError, match="no MATLAB file with the faces"):
        datasets.olivetti(tmp_path)


def test_faces_without_scipy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ModuleNotFoundError, match="SciPy, which reads the faces, is not installed"):
        datasets.olivetti(tmp_path)
