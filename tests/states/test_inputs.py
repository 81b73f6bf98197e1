"""Batches of every form are passed on or refused by name.

``forward=lambda model, batch: ...`` and ``labels=lambda batch: ...`` are keywords of
`DeepDriftMonitor`, `DeepDriftVision`, `collect` and (forward only) `list_layers` and `MMDDrift`;
a refusal is a DeepDriftError that names ``forward=`` or ``labels=``; "sees the second input" is
measured by flags at a thousandfold input.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from field_models import (
    build,
    call,
    fitted,
    gen,
    outputs_of,
    randint,
    randn,
    right_or_refused,
    right_or_said,
    same,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from deepdrift import (
    DIME,
    DeepDriftError,
    DeepDriftMonitor,
    DeepDriftVision,
    KSDrift,
    MMDAggregated,
    MMDDrift,
    collect,
    list_layers,
)

REMEDY = "forward=|labels="


class Two(nn.Module):
    """Two inputs; the second optional or not."""

    def __init__(self, classes: int = 0) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 6), nn.Linear(3, 6)
        self.act, self.mix, self.act2 = nn.Tanh(), nn.Linear(6, 6), nn.ReLU()
        self.fc = nn.Linear(6, classes or 2)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.fc(self.act2(self.mix(self.left(x) + self.right(z))))


class Optional(Two):
    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        h = self.left(x) if z is None else self.left(x) + self.right(z)
        return self.fc(self.act2(self.mix(h)))


LAYERS = ["mix", "act2"]


def pair(n: int, seed: int) -> tuple[Tensor, Tensor]:
    return randn(n, 4, seed=seed), randn(n, 3, seed=seed + 1000)


@pytest.mark.parametrize("kind", [Two, Optional])
def test_a_second_input_reaches_the_model(kind):
    """X2 a thousandfold gave 5 % flagged."""
    net, (x, z) = build(kind), pair(40, 1)

    def reading() -> Any:
        monitor = fitted(net, pair, layer_names=LAYERS)
        states = monitor.states((x, z))
        same(states["mix"], outputs_of(net, ["mix"], (x, z))["mix"])
        return monitor.read((x, 1000 * z))

    def seen(reading: Any) -> None:
        assert reading.flagged.float().mean() > 0.9

    right_or_refused(reading, seen, REMEDY)


@pytest.mark.parametrize("form", ["three", "nested"])
def test_two_inputs_and_labels(form):
    """(x1, x2, y) dropped x2 and y; ((x1, x2), y) was refused."""
    net = build(lambda: Optional(3))

    def batch(n: int, seed: int, scale: float = 1.0) -> tuple:
        x, z = pair(n, seed)
        y = torch.arange(n) % 3
        return (x, scale * z, y) if form == "three" else ((x, scale * z), y)

    def everything() -> tuple:
        monitor = fitted(net, batch, layer_names=LAYERS)
        x, z = pair(40, 1)
        same(monitor.states(batch(40, 1))["mix"], outputs_of(net, ["mix"], (x, z))["mix"])
        return monitor.calibration.n_classes, monitor.read(batch(40, 1, 1000.0)).flagged

    def right(got: tuple) -> None:
        assert got[0] == 3
        assert got[1].float().mean() > 0.9

    right_or_refused(everything, right, REMEDY)


def test_an_integer_second_input_is_not_taken_for_labels():
    """'or x2 taken for labels'."""

    class Conditioned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.mix, self.act = nn.Embedding(5, 6), nn.Linear(4, 6), nn.Tanh()

        def forward(self, x: Tensor, step: Tensor) -> Tensor:
            return self.act(self.mix(x) + self.emb(step))

    net = build(Conditioned)

    def batch(n: int, seed: int) -> tuple[Tensor, Tensor]:
        return randn(n, 4, seed=seed), randint(5, n, seed=seed)

    given = batch(9, 1)
    right = outputs_of(net, ["act"], given)["act"]
    right_or_refused(
        lambda: fitted(net, batch, layer_names=["mix", "act"]).states(given)["act"],
        lambda s: same(s, right),
        REMEDY,
    )


def test_labels_and_metadata():
    """WILDS-style (x, y, meta): n_classes was 1, y dropped."""
    net = build(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()))

    def batch(n: int, seed: int) -> tuple:
        return randn(n, 4, seed=seed), torch.arange(n) % 5, randn(n, 7, seed=seed)

    def five(n_classes: int) -> None:
        assert n_classes == 5

    right_or_refused(lambda: fitted(net, batch).calibration.n_classes, five, REMEDY)


def test_ids_mask_and_labels_on_bert():
    """Mask and labels dropped, n_classes=1, no word."""
    hf = pytest.importorskip("transformers")
    net = build(
        lambda: hf.BertForSequenceClassification(
            hf.BertConfig(
                vocab_size=40,
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=16,
                num_labels=3,
            )
        )
    )

    def batch(n: int, seed: int, length: int = 10) -> tuple:
        ids, sizes = randint(40, n, 10, seed=seed, low=3), randint(11, n, seed=seed, low=3)
        mask = (torch.arange(length)[None] < sizes[:, None]).long()
        ids = torch.cat([ids, torch.zeros(n, length - 10, dtype=torch.long)], 1)
        return ids * mask, mask, torch.arange(n) % 3

    def everything() -> tuple:
        monitor = fitted(net, batch)
        return (
            monitor.calibration.n_classes,
            monitor.read(batch(9, 1)).p_values,
            monitor.read(batch(9, 1, 25)).p_values,
        )

    def right(got: tuple) -> None:
        assert got[0] == 3
        same(got[2], got[1], rtol=0, atol=1e-4)

    right_or_refused(everything, right, REMEDY)


def test_a_named_tuple_is_a_tuple():
    """`Batch(image, label)`."""
    Batch = namedtuple("Batch", "image label")
    net = build(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()))
    monitor = fitted(net, lambda n, s: Batch(randn(n, 4, seed=s), torch.arange(n) % 3))
    assert monitor.calibration.n_classes == 3


# Lists of images


def detector() -> nn.Module:
    pytest.importorskip("torchvision")
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.rpn import AnchorGenerator
    from torchvision.ops import MultiScaleRoIAlign

    class Backbone(nn.Sequential):
        out_channels = 8

    def make() -> nn.Module:
        backbone = Backbone(
            nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()),
        )
        return FasterRCNN(
            backbone,
            num_classes=3,
            min_size=32,
            max_size=48,
            rpn_anchor_generator=AnchorGenerator(((8,),), ((1.0,),)),
            box_roi_pool=MultiScaleRoIAlign(["0"], 2, 1),
            rpn_post_nms_top_n_test=6,
            rpn_pre_nms_top_n_test=12,
            box_detections_per_img=4,
        )

    return build(make)


def images(n: int, seed: int) -> list[Tensor]:
    return list(torch.rand(n, 3, 32, 32, generator=gen(seed)))


def test_list_layers_takes_a_list_of_images():
    """List_layers(model, [image]) unpacked the list and failed."""
    names = [layer.name for layer in list_layers(detector(), images(1, 0))]
    assert "backbone.0" in names and "backbone.1.1" in names


def test_a_detector_is_watched_with_lists_of_images():
    """List of images refused, boxes taken for rows; also a torchvision Faster R-CNN."""
    net = detector()
    monitor = fitted(net, images)
    assert monitor.output_layer is None
    given = images(3, 7)
    assert tuple(monitor.read(given).score.shape) == (3,)
    with torch.no_grad():
        prepared = net.transform(given)[0].tensors
        right = net.backbone[1](net.backbone[0](prepared)).mean((2, 3))
    monitor = DeepDriftMonitor(net, ["backbone.0", "backbone.1"])
    same(monitor.states(given)["backbone.1"], right)


def test_lists_of_images_with_targets():
    """The detection collate (images, targets), also as tuples."""
    net = detector()

    def batch(n: int, seed: int) -> tuple:
        targets = [{"boxes": torch.tensor([[1.0, 1.0, 9.0, 9.0]]), "labels": torch.tensor([1])}] * n
        return tuple(images(n, seed)), tuple(targets)

    monitor_layers = ["backbone.0", "backbone.1"]
    given = batch(3, 7)
    right = DeepDriftMonitor(
        net, monitor_layers, forward=lambda model, b: model(list(b[0])), labels=lambda b: None
    )
    right_or_refused(
        lambda: fitted(net, batch, layer_names=monitor_layers).states(given)["backbone.1"],
        lambda s: same(s, right.states(given)["backbone.1"]),
        REMEDY,
    )


def test_images_of_different_sizes():
    """What lists are for."""
    net = detector()
    sizes = [(32, 40), (40, 32), (32, 32)]
    given = [torch.rand(3, *size, generator=gen(i)) for i, size in enumerate(sizes)]
    monitor = DeepDriftMonitor(net, ["backbone.0", "backbone.1"])
    assert {tuple(v.shape) for v in monitor.states(given).values()} == {(3, 8)}

    def two(states: dict) -> None:
        assert {tuple(v.shape) for v in states.values()} == {(2, 8)}

    right_or_refused(lambda: monitor.states(given[:2]), two, REMEDY)  # could be (x, y) as well


# Mappings


class Features(nn.Module):
    """Takes one dict as its positional input, as sentence-transformers' modules do."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.act, self.two = nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6)

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        x = self.two(self.act(self.one(features["x"])))
        return features | {"sentence_embedding": x}


def test_a_dict_as_positional_input():
    """ForwardError "missing 1 required positional argument"."""
    net = build(Features)
    monitor = fitted(net, lambda n, s: {"x": randn(n, 4, seed=s)}, layer_names=["act", "two"])
    given = {"x": randn(5, 4)}
    same(monitor.states(given)["two"], outputs_of(net, ["two"], (given,))["two"])
    assert "two" in [i.name for i in list_layers(net, given)]


def test_a_dict_as_positional_input_of_a_sequential():
    """Nn.Sequential(input) of such modules, "missing ... 'input'"."""
    net = build(lambda: nn.Sequential(Features()))
    given = {"x": randn(5, 4)}
    monitor = DeepDriftMonitor(net, ["0.act", "0.two"])
    same(monitor.states(given)["0.two"], outputs_of(net, ["0.two"], (given,))["0.two"])


@pytest.mark.parametrize("key", ["label", "labels"])
def test_a_label_in_a_dict_is_no_argument_of_a_model_that_takes_none(key):
    """`label` was recognised and passed to forward all the same: TypeError."""
    net = build(Two)

    def batch(n: int, seed: int) -> dict:
        x, z = pair(n, seed)
        return {"x": x, "z": z, key: torch.arange(n) % 3}

    monitor = fitted(net, batch, layer_names=LAYERS)
    assert monitor.calibration.n_classes == 3
    given = batch(5, 1)
    right = outputs_of(net, ["mix"], (given["x"], given["z"]))["mix"]
    same(monitor.states(given)["mix"], right)


def test_an_index_in_a_dict_is_left_out_with_a_word_or_refused_by_name():
    """`idx` was passed to forward and failed there."""
    net = build(Two)

    def batch(n: int, seed: int) -> dict:
        x, z = pair(n, seed)
        return {"x": x, "z": z, "idx": torch.arange(n)}

    result = right_or_said(
        lambda: fitted(net, batch, layer_names=LAYERS),
        lambda m: pytest.fail("idx was dropped without a word"),
        "idx",
    )
    if result == "refused":
        with pytest.raises(DeepDriftError, match="forward="):
            fitted(net, batch, layer_names=LAYERS)


def test_a_batch_encoding_is_a_mapping():
    """Stays ok."""
    hf = pytest.importorskip("transformers")
    net = build(
        lambda: hf.BertModel(
            hf.BertConfig(
                vocab_size=40,
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=16,
            )
        )
    )
    ids = randint(40, 4, 9)
    given = hf.BatchEncoding({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    name = "encoder.layer.1"
    right = outputs_of(net, [name], {"input_ids": ids})[name].mean(1)
    same(DeepDriftMonitor(net, [name]).states(given)[name], right)


def test_collect_on_question_answering_takes_no_loss_for_the_output():
    """ "zero-dimensional tensor cannot be concatenated"."""
    hf = pytest.importorskip("transformers")
    net = build(
        lambda: hf.BertForQuestionAnswering(
            hf.BertConfig(
                vocab_size=40,
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=16,
            )
        )
    )
    batch = {
        "input_ids": randint(40, 4, 9),
        "start_positions": torch.tensor([1, 2, 3, 4]),
        "end_positions": torch.tensor([2, 3, 4, 5]),
    }
    got = collect(net, [batch, batch], ["bert.encoder.layer.1"])
    right = call(net, batch).start_logits
    same(got.outputs[:4], right)
    assert len(got.outputs) == 8


# Labels


THREE = torch.arange(40) % 3
FORMS = {
    "int64": THREE,
    "int32": THREE.int(),
    "uint8": THREE.to(torch.uint8),
    "(N, 1)": THREE[:, None],
    "one-hot": nn.functional.one_hot(THREE),
    "one-hot float": nn.functional.one_hot(THREE).float(),
    "list": THREE.tolist(),
    "tuple": tuple(THREE.tolist()),
    "numpy": THREE.numpy(),
    "float": THREE.float(),
    "float64 numpy": THREE.double().numpy(),
    "list of tensors": list(THREE),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("container", [tuple, list, dict])
def test_every_form_of_labels_is_taken_or_refused(form, container):
    """(N, 1), one-hot, a list, numpy, 0./1. floats: n_classes=1 without a word."""
    net = build(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()))

    def batch(n: int, seed: int) -> Any:
        x, y = randn(n, 4, seed=seed), FORMS[form]
        return {"input": x, "labels": y} if container is dict else container((x, y))

    def three(n_classes: int) -> None:
        assert n_classes == 3

    if container is dict:  # the model does not take labels; nn.Sequential takes `input`

        class Named(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = net

            def forward(self, input: Tensor) -> Tensor:  # noqa: A002
                return self.net(input)

        watched: nn.Module = Named()
    else:
        watched = net
    result = right_or_refused(lambda: fitted(watched, batch).calibration.n_classes, three, "label")
    assert result == "right" or form not in ("int64", "int32", "uint8")


def test_binary_float_labels():
    """0./1. floats, as for BCEWithLogitsLoss."""
    net = build(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()))

    def two(n_classes: int) -> None:
        assert n_classes == 2

    right_or_refused(
        lambda: (
            fitted(
                net, lambda n, s: (randn(n, 4, seed=s), (torch.arange(n) % 2).float())
            ).calibration.n_classes
        ),
        two,
        "label",
    )


def test_label_forms_give_the_same_scores():
    """Taken means taken: the same numbers as int64 gives."""
    net = build(
        lambda: nn.Sequential(
            nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
        )
    )
    x = randn(7, 4, seed=3)

    def scores(form: str) -> Tensor:
        return fitted(net, lambda n, s: (randn(n, 4, seed=s), FORMS[form])).read(x).score

    right = scores("int64")
    for form in ("(N, 1)", "numpy", "list"):
        right_or_refused(lambda form=form: scores(form), lambda s: same(s, right), "label")


# forward= and labels=


def weird(n: int, seed: int, scale: float = 1.0) -> dict:
    """A batch that no rule can guess."""
    x, z = pair(n, seed)
    return {
        "meta": {"x": x, "z": scale * z, "id": list(range(n))},
        "target": {"y": torch.arange(n) % 3},
    }


def feed(model: nn.Module, batch: Any) -> Tensor:
    return model(batch["meta"]["x"], z=batch["meta"]["z"])


def classes(batch: Any) -> Tensor:
    return batch["target"]["y"]


def test_forward_and_labels_of_the_monitor():
    """One argument removes a whole class of refusals."""
    net = build(lambda: Two(3))
    monitor = fitted(net, weird, forward=feed, labels=classes, layer_names=LAYERS)
    assert monitor.calibration.n_classes == 3
    x, z = pair(9, 1)
    same(monitor.states(weird(9, 1))["mix"], outputs_of(net, ["mix"], (x, z))["mix"])
    plain = fitted(
        net,
        lambda n, s: {**dict(zip("xz", pair(n, s), strict=True)), "labels": torch.arange(n) % 3},
        forward=lambda model, b: model(b["x"], b["z"]),
        layer_names=LAYERS,
    )
    same(monitor.read(weird(9, 1)).score, plain.read({"x": x, "z": z}).score)
    assert monitor.read(weird(40, 1, 1000.0)).flagged.float().mean() > 0.9
    status, _ = monitor.step(weird(40, 1, 1000.0))
    assert status.fused["drift"] > 3
    assert monitor.diagnose(weird(40, 1)) is not None


def test_forward_with_the_default_layers_and_the_output_term():
    """Nothing else changes: head and layers as without it."""
    net = build(
        lambda: nn.Sequential(
            nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
        )
    )
    given = fitted(
        net,
        lambda n, s: {"deep": [randn(n, 4, seed=s)], "y": torch.arange(n) % 3},
        forward=lambda model, b: model(b["deep"][0]),
        labels=lambda b: b["y"],
    )
    plain = fitted(net, lambda n, s: (randn(n, 4, seed=s), torch.arange(n) % 3))
    x = randn(5, 4, seed=9)
    assert given.output_layer == plain.output_layer == "4"
    same(given.read({"deep": [x]}).score, plain.read(x).score, rtol=1e-9, atol=1e-9)


def test_forward_takes_an_object_of_ones_own():
    """A PyG `Batch` was refused; states behind the read-out are graphs."""

    class Graphs:
        def __init__(self, n: int, seed: int) -> None:
            self.x, self.index = randn(3 * n, 3, seed=seed), torch.arange(n).repeat_interleave(3)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.node, self.one, self.two = nn.Linear(3, 5), nn.Linear(5, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor, index: Tensor) -> Tensor:
            h = torch.tanh(self.node(x))
            pooled = torch.zeros(int(index.max()) + 1, 5).index_add_(0, index, h)
            return self.two(torch.tanh(self.one(pooled)))

    net = build(Net)
    monitor = fitted(net, Graphs, layer_names=["one", "two"], forward=lambda m, b: m(b.x, b.index))
    batch = Graphs(5, 1)
    same(monitor.states(batch)["two"], outputs_of(net, ["two"], (batch.x, batch.index))["two"])
    assert tuple(monitor.read(batch).score.shape) == (5,)


def test_forward_of_vision_collect_and_list_layers():
    """The general remedy, wherever a batch is run."""
    net = build(lambda: Two(3))
    x, z = pair(40, 1)
    right = outputs_of(net, ["mix"], (x, z))["mix"]
    got = collect(net, [weird(40, 1)], ["mix"], forward=feed, labels=classes)
    same(got.states["mix"], right)
    assert torch.equal(got.labels, torch.arange(40) % 3)
    same(got.outputs, call(net, (x, z)))
    assert "mix" in [i.name for i in list_layers(net, weird(4, 1), forward=feed)]
    vision = DeepDriftVision(net, LAYERS, forward=feed, labels=classes)
    vision.fit([weird(40, s) for s in range(4)])
    assert vision.predict(weird(40, 1, 1000.0)).status == "ANOMALY"


def test_forward_of_mmd():
    """MMDDrift(feature_map=net, layer=...) over batches that no rule can guess."""
    net = build(lambda: Two(3))
    drift = MMDDrift([weird(20, 1), weird(20, 2)], feature_map=net, layer="mix", forward=feed)
    rows = [outputs_of(net, ["mix"], pair(20, s))["mix"] for s in (1, 2)]
    same(drift.reference, torch.cat(rows))


def test_an_error_inside_forward_is_ours():
    """A remedy that raises is reported like a model that raises."""
    net = build(Two)
    monitor = DeepDriftMonitor(net, LAYERS, forward=lambda model, batch: model(batch["no"]))
    with pytest.raises(DeepDriftError, match="no"):
        monitor.states(weird(3, 1))


def test_wrong_batches_name_the_remedy():
    """What is refused says how to get in."""
    net = build(Two)
    for batch in (weird(4, 1), {"x": randn(4, 4)}, object(), (object(), object())):
        with pytest.raises(DeepDriftError, match="forward="):
            DeepDriftMonitor(net, LAYERS).states(batch)


# MMD, KS and DIME: tables, lists of batches, dicts


def table(n: int = 60, seed: int = 0, shift: float = 0.0) -> Tensor:
    return randn(n, 3, seed=seed) + shift


def frame(x: Tensor) -> Any:
    return pytest.importorskip("pandas").DataFrame(x.numpy(), columns=["a", "b", "c"])


TESTS = [MMDDrift, KSDrift, MMDAggregated]


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_data_frames(test, shift):
    """ "batch: expected a tensor ... got str"."""
    x, y = table(), table(40, 1, shift)
    right = test(x).test(y).p_value
    assert test(frame(x)).test(frame(y)).p_value == right
    assert test(x).test(frame(y)).p_value == right


@pytest.mark.parametrize("test", TESTS)
def test_lists_of_batches(test):
    """ "got (2, 40, 3)"; also with labels, as `monitor.fit` takes them."""
    x, y = table(), table(40, 1, 1.5)
    right = test(x).test(y).p_value
    for given in (
        list(x.split(20)),
        tuple(x.split(25)),
        [(p, torch.zeros(len(p))) for p in x.split(20)],
        DataLoader(TensorDataset(x), 20),
        [p.numpy() for p in x.split(20)],
    ):
        assert test(given).test(list(y.split(20))).p_value == right


@pytest.mark.parametrize("test", TESTS)
def test_lists_of_rows_stay_arrays(test):
    """A guard: nested lists of numbers are an array, not batches."""
    x, y = table(), table(40, 1, 1.5)
    assert test(x.tolist()).test(y.tolist()).p_value == test(x).test(y).p_value


@pytest.mark.parametrize("test", TESTS)
def test_a_series_is_one_feature_or_refused(test):
    """Series "got float"."""
    pd = pytest.importorskip("pandas")
    x, y = table()[:, 0], table(40, 1, 1.5)[:, 0]
    right = test(x[:, None]).test(y[:, None]).p_value

    def value(p: float) -> None:
        assert p == right

    right_or_refused(
        lambda: test(pd.Series(x.numpy())).test(pd.Series(y.numpy())).p_value,
        value,
        r"Series|\[:, None\]|one feature|to_frame",
    )


def test_a_frame_with_words_names_the_column():
    """A table with a column of strings."""
    data = frame(table())
    data["city"] = "Ulm"
    for test in TESTS:
        with pytest.raises(DeepDriftError, match="city"):
            test(data)


def test_dime_takes_the_same_things():
    """DIME takes frames; lists of batches and loaders too."""
    x, y = table(), table(40, 1, 1.5)
    right = DIME(rank_of_two()).fit(x).distance_to_hyperplane(y)
    for given in (frame(x), list(x.split(20)), DataLoader(TensorDataset(x), 20)):
        fit = DIME(rank_of_two()).fit(given)
        same(fit.distance_to_hyperplane(y), right, rtol=1e-9, atol=1e-9)
    fit = DIME(rank_of_two()).fit(x)
    for given in (frame(y), list(y.split(20))):
        same(fit.distance_to_hyperplane(given), right, rtol=1e-9, atol=1e-9)


def rank_of_two() -> int:
    return 2


def bert() -> nn.Module:
    hf = pytest.importorskip("transformers")
    return build(
        lambda: hf.BertModel(
            hf.BertConfig(
                vocab_size=40,
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=16,
            )
        )
    )


@pytest.mark.parametrize("layer", ["encoder.layer.1", None])
def test_mmd_of_text_in_dicts(layer):
    """Raw AttributeError 'dict' object has no attribute 'device' (or 'cpu')."""
    net = bert()
    batches = []
    for seed in (1, 2):
        ids, sizes = randint(40, 20, 9, seed=seed), randint(10, 20, seed=seed, low=2)
        batches.append(
            {"input_ids": ids, "attention_mask": (torch.arange(9)[None] < sizes[:, None]).long()}
        )
    rows = []
    for batch in batches:
        out = call(net, batch).last_hidden_state
        m = batch["attention_mask"][..., None].float()
        rows.append((out * m).sum(1) / m.sum(1))

    def reference() -> Tensor:
        return MMDDrift(iter(batches), feature_map=net, layer=layer).reference

    if layer is None:  # last_hidden_state of a whole model: pooled, or refused with `layer`
        right_or_refused(reference, lambda r: same(r, torch.cat(rows)), "layer")
    else:
        same(reference(), torch.cat(rows))
        test = MMDDrift(iter(batches), feature_map=net, layer=layer).test(batches)
        assert test.n_test == 40 and not test.is_drift


def test_mmd_of_one_dict():
    """One batch where a loader is expected."""
    net, ids = bert(), randint(40, 20, 9)
    name = "encoder.layer.1"
    right = outputs_of(net, [name], {"input_ids": ids})[name].mean(1)
    right_or_refused(
        lambda: MMDDrift({"input_ids": ids}, feature_map=net, layer=name).reference,
        lambda r: same(r, right),
        "loader|batch",
    )


def test_numpy_and_frames_in_a_monitor_are_refused_by_name():
    """ "numpy and DataFrame: clear refusal"; or taken as the tensor they hold."""
    net = build(lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()))
    x = table()
    for given, kind in ((x.numpy(), "ndarray|numpy"), (frame(x), "DataFrame")):
        right_or_refused(
            lambda given=given: DeepDriftMonitor(net).states(given)["3"],
            lambda s: same(s, outputs_of(net, ["3"], x)["3"]),
            kind,
        )
    assert isinstance(x.numpy(), np.ndarray)
