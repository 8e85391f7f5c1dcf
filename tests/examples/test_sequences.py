"""The examples that learn sequences and texts: their parts, and short trainings."""

import contextlib
import gzip
import io
import math
import re

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import random
from fstensor.examples import (
    char_gpt,
    cola,
    common,
    datasets,
    sine,
    text,
    translation,
    word_classes,
)
from fstensor.examples.datasets import Examples
from fstensor.nn import models


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """What is computed here is small: several threads would mostly wait for each other."""
    with fst.config.override(threads=1):
        yield


def run(module, *options):
    """What an example gives, and what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        found = module.main(options)
    return found, output.getvalue()


def message(capsys, module, *options):
    """The last line of an example that ends because of its options."""
    with pytest.raises(SystemExit) as ended:
        module.main(options)
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


# Sine

SINE = ["--epochs", "4", "--layer", "GRU"]


@pytest.fixture(scope="module")
def sine_run():
    return run(sine, *SINE)


def test_waves():
    waves = sine.waves(np.array([0.0, 1.0]))
    assert waves.sine.shape == waves.cosine.shape == (2, 20, 1)
    angles = 1 + np.arange(20) * math.pi / 20
    np.testing.assert_allclose(waves.sine[1, :, 0], np.sin(angles), atol=1e-6)
    np.testing.assert_allclose(waves.cosine[1, :, 0], np.cos(angles), atol=1e-6)


def test_cosine_is_learned(sine_run):
    fits, _ = sine_run
    assert fits["GRU"].found[-1]["test error"] < 2e-3
    assert fits["GRU"].losses[3] < fits["GRU"].losses[0] / 20


def test_sine_prints_a_table(sine_run):
    fits, output = sine_run
    *progress, head, _, row = output.splitlines()
    assert len(progress) == 4
    assert re.split("  +", head) == ["network", "parameters", "test error", "time per epoch"]
    error = f"{fits['GRU'].found[-1]['test error']:.1e}"
    assert re.fullmatch(rf"GRU +3,393 +{error} +[\d.]+ s", row)


def test_sine_same_seed_same_numbers(sine_run):
    again, _ = run(sine, *SINE, "--epochs", "1")
    other, _ = run(sine, *SINE, "--epochs", "1", "--seed", "1")
    twice, _ = run(sine, *SINE, "--epochs", "1")
    assert again["GRU"].losses == twice["GRU"].losses
    assert again["GRU"].losses != other["GRU"].losses


def test_sine_options(capsys):
    assert "--layer: invalid choice: 'CNN'" in message(capsys, sine, "--layer", "CNN")


# Words


def test_vocabulary():
    words = text.Vocabulary([["b", "a"], ["a", "c", "a"]])
    assert len(words) == 7
    np.testing.assert_array_equal(
        words.encode([["a", "b"], ["c", "x", "a"]]), [[4, 5, 0], [6, 1, 4]]
    )
    np.testing.assert_array_equal(words.encode([["a"], []], ends=True), [[2, 4, 3], [2, 3, 0]])
    assert words.encode([["a"]]).dtype == np.int32
    assert words.decode([4, 1, 5, 3, 6]) == ["a", "?", "b"]


# Translation

TRANSLATION = ["--pairs", "24", "--batch-size", "8", "--epochs", "25", "--features", "32"]


@pytest.mark.parametrize(
    ("number", "english", "chinese"),
    [
        (0, "zero", "零"),
        (7, "seven", "七"),
        (10, "ten", "十"),
        (14, "fourteen", "十四"),
        (20, "twenty", "二十"),
        (99, "ninety nine", "九十九"),
        (110, "one hundred ten", "一百一十"),
        (305, "three hundred five", "三百零五"),
        (1000, "one thousand", "一千"),
        (2008, "two thousand eight", "二千零八"),
        (4060, "four thousand sixty", "四千零六十"),
        (9217, "nine thousand two hundred seventeen", "九千二百一十七"),
    ],
)
def test_names_of_numbers(number, english, chinese):
    assert translation.in_english(number) == english
    assert translation.in_chinese(number) == chinese


def test_numbers_have_names_of_their_own():
    english, chinese = zip(*translation.numbers(0), strict=True)
    assert len(set(english)) == len(set(chinese)) == 10_000
    assert translation.numbers(1)[:9] != translation.numbers(0)[:9]


def test_pairs_of_a_sentence():
    pairs = translation.pairs_of([("Hi, Tom's!", "嗨。 湯姆"), ("hi, tom's!", "你"), ("Go.", "走")])
    assert pairs[0] == (["hi", ",", "tom's", "!"], list("嗨。湯姆"))
    assert [pair.english for pair in pairs[1:]] == [["go", "."]]


def write_pairs(folder):
    """Eight sentences and their translations, as Tatoeba's."""
    words = {"cat": "貓", "dog": "狗", "fish": "魚", "bird": "鳥"}
    rows = [
        f"{start} {english}.\t{begin}{chinese}。\tCC-BY 2.0 (France)\n"
        for start, begin in (("A", "一隻"), ("My", "我的"))
        for english, chinese in words.items()
    ]
    (folder / "translation").mkdir()
    path = folder / "translation" / "cmn-eng.txt.gz"
    path.write_bytes(gzip.compress("".join(rows).encode()))


def test_sentences_are_learned_by_heart(tmp_path):
    write_pairs(tmp_path)
    options = ["--data", str(tmp_path), "--pairs", "6", "--batch-size", "6", "--epochs", "40"]
    scores, output = run(translation, *options, "--features", "32", "--layers", "1")
    assert scores["learned"] == (1.0, 1.0)
    lines = output.splitlines()
    assert lines[40].split() == ["English", "Chinese", "translated"]
    assert [line.split() for line in lines[42:46]] == [
        ["a", "fish", ".", "一隻魚。", "一隻魚。"],
        ["a", "bird", ".", "一隻鳥。", "一隻鳥。"],
        ["my", "cat", ".", "我的貓。", "我的貓。"],
        ["my", "dog", ".", "我的狗。", "我的狗。"],
    ]
    assert lines[-4].split() == ["pairs", "number", "exact", "BLEU"]
    assert lines[-2].split() == ["learned", "6", "100.0%", "100.0"]
    assert lines[-1].split()[:2] == ["others", "2"]


def test_translation_options(capsys, tmp_path):
    assert "cmn-eng.txt.gz is not there" in message(capsys, translation, "--data", str(tmp_path))
    few = message(capsys, translation, "--pairs", "8", "--batch-size", "9")
    assert "--batch-size must be at most 8" in few
    assert "heads" in message(capsys, translation, "--features", "30", "--epochs", "1")


# Characters

GPT = ["--steps", "12", "--batch-size", "4", "--length", "16", "--features", "16"]
GPT += ["--layers", "1", "--heads", "2", "--lr", "3e-2", "--sample", "40"]


@pytest.fixture(scope="module")
def plays(tmp_path_factory):
    """A folder with a text in the place of Shakespeare's."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "tinyshakespeare").mkdir()
    (folder / "tinyshakespeare" / "input.txt").write_text("to be or not\n" * 100)
    return ["--data", str(folder)]


@pytest.fixture(scope="module")
def gpt_run(plays):
    return run(char_gpt, *GPT, *plays)


def test_characters_are_learned(gpt_run):
    fit, _ = gpt_run
    assert fit.steps == 12
    assert fit.validation_loss < math.log(9) - 0.3  # of nine characters, all alike


def test_gpt_prints_progress_a_sample_and_a_table(gpt_run):
    fit, output = gpt_run
    lines = output.splitlines()
    progress = [line for line in lines if "tokens/s" in line]
    assert len(progress) == 10
    words = r" training loss [\d.]+  validation loss [\d.]+  [\d,]+ tokens/s"
    assert re.fullmatch(r"100%  step 12 " + words, progress[-1])
    sample = output[output.index(progress[-1]) + len(progress[-1]) + 2 :][:40]
    assert set(sample) <= set("to be or not\n")
    assert re.split("  +", lines[-3]) == [
        "parameters", "steps", "training loss", "validation loss", "time",
    ]  # fmt: skip
    count = f"{common.count(fit.params):,}"
    losses = f"{fit.training_loss:.4f} +{fit.validation_loss:.4f}"
    assert re.fullmatch(rf"{count} +12 +{losses} +[\d.]+ s", lines[-1])


def test_gpt_same_seed_same_numbers(plays, gpt_run):
    again, _ = run(char_gpt, *GPT, *plays)
    assert again[3:] == gpt_run[0][3:]
    other, _ = run(char_gpt, *GPT, *plays, "--steps", "1", "--seed", "1")
    assert other.training_loss != again.training_loss


def test_minutes_end_a_training(plays):
    fit, _ = run(char_gpt, *GPT, *plays, "--minutes", "1e-9")
    assert fit.steps == 1


def test_learning_rate():
    rates = [char_gpt.learning_rate(1.0, done) for done in (0.01, 0.02, 0.51, 1.0)]
    np.testing.assert_allclose(rates, [0.5, 1.0, 0.525, 0.05])


def test_validation_counts_every_piece():
    model = models.GPT(5, 8, 16, 2, 1)
    tokens = np.random.default_rng(0).integers(0, 5, 8 * 70 + 3)
    params, _ = model.init(random.key(0), fnp.asarray(tokens[:8]))
    pieces = np.stack([tokens[i : i + 9] for i in range(0, 8 * 70, 8)])
    expected = char_gpt.losses(model, params, fnp.asarray(pieces)).mean()
    assert char_gpt.validation(model, tokens)(params) == pytest.approx(float(expected), rel=1e-5)


def test_gpt_options(capsys, tmp_path, plays):
    assert "input.txt is not there" in message(capsys, char_gpt, "--data", str(tmp_path))
    for length in ("1", "130"):
        assert "--length must be from 2 to 129" in message(
            capsys, char_gpt, *plays, "--length", length
        )
    assert "heads" in message(capsys, char_gpt, *GPT, *plays, "--heads", "3")
    assert "must be at least 0 and less" in message(capsys, char_gpt, "--dropout", "1")
    assert "must be positive" in message(capsys, char_gpt, "--minutes", "0")


# Acceptability


def write_cola(folder):
    """The three files of the corpus, of sentences that start with what they should or not."""
    rng = np.random.default_rng(0)
    (folder / "cola" / "tokenized").mkdir(parents=True)
    parts = {"in_domain_train": 200, "in_domain_dev": 20, "out_of_domain_dev": 5}
    for name, count in parts.items():
        lines = []
        for n in range(count):
            first = "the of"[:3] if n % 10 < 7 else "of"
            words = " ".join(f"word{k}" for k in rng.integers(0, 9, rng.integers(2, 6)))
            label, mark = (1, "") if first == "the" else (0, "*")
            lines.append(f"src\t{label}\t{mark}\t{first} {words} .\n")
        (folder / "cola" / "tokenized" / f"{name}.tsv").write_text("".join(lines))


COLA = ["--batch-size", "40", "--epochs", "6", "--networks", "2", "--folds", "2", "--lr", "1e-2"]


@pytest.fixture(scope="module")
def cola_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_cola(folder)
    options = ["--data", str(folder), *COLA]
    return run(cola, *options), options


def test_rare_words_become_their_endings():
    texts = [["the", "wugs", "fly"], ["the", "wugging", "fly"]]
    tokens, others, words = word_classes.encode(texts, [["the", "blicks", "x"]], 2)
    assert tokens.tolist() == [[2, 7, 5, 6, 3], [2, 7, 4, 6, 3]]  # -ing, -s, fly, the
    assert others.tolist() == [[2, 7, 5, 1, 3]]
    assert words == 8
    endings = {"walked": "-ed", "red": "-", "s": "-", "kindness": "-ness", "boys": "-s"}
    assert {word: word_classes.ending(word) for word in endings} == endings


def test_words_with_the_same_neighbors_are_a_class():
    rng = np.random.default_rng(0)
    groups = np.arange(4, 28).reshape(3, 8)  # the first, second and third words of sentences
    tokens = np.pad(np.stack([rng.choice(group, 300) for group in groups], 1), [(0, 0), (1, 1)])
    tokens[:, 0], tokens[:, -1] = text.START, text.END
    vectors = word_classes.neighbor_vectors(tokens, 28)
    np.testing.assert_allclose(np.linalg.norm(vectors[4:], axis=1), 1, rtol=1e-5)
    near = vectors @ vectors.T
    same = np.kron(np.eye(3), np.ones((8, 8))).astype(bool)
    assert near[4:, 4:][same].min() > near[4:, 4:][~same].max()
    table = word_classes.classes(vectors, 12, random.key(0))
    assert table[text.PADDING] == text.PADDING
    assert 1 <= table[1:].min() <= table.max() <= 12
    found = [set(table[group].tolist()) for group in groups]
    assert sum(map(len, found)) == len(set.union(*found))


def test_k_means_ends_at_the_means():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(x, 0.1, (20, 2)) for x in (0, 5)]).astype(np.float32)
    groups = np.asarray(word_classes.k_means(fnp.asarray(points), 2, random.key(0)))
    assert len(set(groups[:20])) == len(set(groups[20:])) == 1
    assert groups[0] != groups[20]
    points = rng.normal(size=(200, 3)).astype(np.float32)
    groups = np.asarray(word_classes.k_means(fnp.asarray(points), 5, random.key(1)))
    means = np.stack([points[groups == n].mean(0) for n in range(5)])
    distances = np.linalg.norm(points[:, None] - means, axis=-1)
    np.testing.assert_array_equal(distances.argmin(1), groups)


def test_ngrams_are_those_of_the_sentence():
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 4, (20, 7, 2))
    for row, length in zip(tokens, rng.integers(2, 8, 20), strict=True):
        row[length:] = text.PADDING
    found = cola.ngrams(tokens, 4)
    assert (np.diff(found.sentences) >= 0).all()
    expected = [
        {
            (level, pattern, *(row[start + place] for place in pattern))
            for level, row in enumerate(sentence.T.tolist())
            for pattern in cola.PATTERNS
            for start in range(np.count_nonzero(row) - pattern[-1])
        }
        for sentence in tokens
    ]
    codes = [set(found.ngrams[found.sentences == n].tolist()) for n in range(20)]
    assert len(found.ngrams) == sum(map(len, expected))
    for n in range(20):
        assert len(codes[n]) == len(expected[n])
        assert len(codes[n] & codes[0]) == len(expected[n] & expected[0])


def test_logistic_regression_ends_where_the_gradient_vanishes():
    rng = np.random.default_rng(0)
    has = rng.random((60, 30)) < 0.2
    labels = (has[:, 0] | (rng.random(60) < 0.5)).astype(np.int32)
    found = cola.Found(*np.nonzero(has))
    weights = cola.logistic_regression(found, labels, 30)
    assert weights.ngrams[0] > 0.5
    odds = np.asarray(cola.log_odds(weights, found, 60))
    np.testing.assert_allclose(odds, has @ weights.ngrams + weights.bias, rtol=1e-4, atol=1e-5)
    errors = (1 / (1 + np.exp(-odds)) - labels) / 60
    assert abs(errors.sum()) < 1e-4
    slope = errors @ has + cola.PENALTY * np.asarray(weights.ngrams)
    assert np.linalg.norm(slope) < 1e-4


def test_ngrams_of_one_sentence_are_left_out():
    tokens = np.array([[5, 6], [5, 7], [6, 8]])[..., None]
    part = cola.Fold(
        Examples(tokens, np.zeros(3)), Examples(tokens[1:], np.zeros(2)), 9, np.zeros((9, 1))
    )
    train, held_out, count = cola.numbered(part)
    assert count == 2  # 5, and 6, alone
    assert train.sentences.tolist() == [0, 0, 1, 2]
    assert train.ngrams.tolist() == [0, 1, 0, 1]
    assert held_out.sentences.tolist() == [0, 1]
    assert held_out.ngrams.tolist() == [0, 1]


def test_folds_share_no_sentence(tmp_path):
    write_cola(tmp_path)
    sentences = datasets.cola(tmp_path)["train"]
    held_out = np.arange(0, 200, 5)
    part = cola.fold(sentences, held_out)
    assert part.train.inputs.dtype == np.int32
    assert part.train.inputs.shape[0] == 160
    assert part.train.inputs.shape[1] <= 9
    np.testing.assert_array_equal(part.held_out.labels, sentences.labels[held_out])
    assert part.words == 4 + 12
    assert part.vectors.shape == (16, 16)
    found, sizes = cola.with_classes(part, random.key(0))
    assert found.train.inputs.shape == (*part.train.inputs.shape, 3)
    np.testing.assert_array_equal(found.held_out.inputs[..., 0], part.held_out.inputs)
    assert len(sizes) == 3
    assert sizes[0] == 16


def test_acceptability_is_learned(cola_run):
    (scores, _), _ = cola_run
    assert scores["all accepted"] == pytest.approx((0.7, 0))
    for name in ("networks", "n-grams", "both"):
        assert scores[name].accuracy > 0.9
        assert scores[name].matthews > 0.75


def test_cola_prints_progress_and_a_table(cola_run):
    (scores, output), _ = cola_run
    lines = output.splitlines()
    assert re.fullmatch(r" *fold 2, 2  epoch 6/6  loss +[\d.]+ +[\d.]+ s", lines[23])
    assert re.split("  +", lines[24]) == ["200 sentences held out", "accuracy", "Matthews"]
    for line, (name, score) in zip(lines[26:], scores.items(), strict=True):
        row = [name, f"{score.accuracy:.2%}", f"{score.matthews:.3f}"]
        assert re.split("  +", line) == row


def test_cola_same_seed_same_numbers(cola_run):
    _, options = cola_run
    short = [*options, "--epochs", "1", "--networks", "1"]
    texts = [run(cola, *short, "--seed", seed)[1] for seed in ("0", "0", "1")]
    first, again, other = (re.findall(r"loss +[\d.]+", text) for text in texts)
    assert len(first) == 2
    assert first == again != other


def test_cola_options(capsys, tmp_path):
    assert "needed: DIR/cola is as published at https://nyu-mll" in message(capsys, cola)
    missing = message(capsys, cola, "--data", str(tmp_path))
    assert "in_domain_train.tsv is not there; its authors publish it at https://nyu-mll" in missing
    write_cola(tmp_path)
    data = ["--data", str(tmp_path)]
    assert "--batch-size must be at most 160" in message(capsys, cola, *data, "--batch-size", "161")
    for folds in ("1", "201"):
        few = message(capsys, cola, *data, "--folds", folds)
        assert f"--folds must be from 2 to 200, got {folds}" in few
