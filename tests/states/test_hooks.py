"""The recorder's manners: right states, no trace in the model, no harm to the user's pass."""

import contextlib
import copy
import gc
import io
import pickle

import pytest
import torch
import zoo
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchvision.models import efficientnet_b0, mobilenet_v2, resnet18, vgg11

from deepdrift import LayerNotFoundError, StateError, auto_layers, list_layers, record

every_animal = pytest.mark.parametrize("animal", zoo.ZOO, ids=zoo.NAMES)


def watch(animal, model):
    return record(model, animal.layers, animal.pooling)


# What is recorded


@every_animal
def test_states_are_those_computed_by_hand_in_execution_order(animal):
    model, batch = animal.build(), animal.draw(3)
    with zoo.plain_outputs(model, animal.layers) as outputs, torch.no_grad():
        zoo.call(model, batch)
    with watch(animal, model) as states, torch.no_grad():
        zoo.call(model, batch)
    assert tuple(states) == animal.states
    for state, output in zip(states.values(), outputs, strict=True):
        assert state.dtype == torch.float32
        assert state.shape[0] == 3
        torch.testing.assert_close(state, animal.by_hand(output), rtol=1e-5, atol=1e-6)


def test_execution_order_is_not_definition_or_name_order():
    animal = zoo.BY_NAME["backwards"]
    model = animal.build()
    assert auto_layers(model) == ["block11.1"] + [f"block{i}.1" for i in range(10, -1, -1)]
    with record(model) as states:
        model(animal.draw(2))
    assert list(states) == [f"block{i}.1" for i in range(12)]  # 0, 1, 2, ..., 10, 11


def test_the_order_in_which_layers_are_named_does_not_matter():
    animal = zoo.BY_NAME["perceptron"]
    model = animal.build()
    with record(model, ["5", "1", "3"]) as states:
        model(animal.draw(2))
    assert list(states) == ["1", "3", "5"]


def test_an_inplace_relu_does_not_change_the_state_before_it():
    torn, whole = zoo.Shared(inplace=True), zoo.Shared(inplace=False)
    whole.load_state_dict(torn.state_dict())
    x = zoo.BY_NAME["shared-inplace"].draw(4)
    with record(torn) as a, record(whole) as b:
        torn(x), whole(x)
    with record(torn, ["one"]) as a_one, record(whole, ["one"]) as b_one:
        torn(x), whole(x)
    assert bool((b_one["one"] < 0).any())  # otherwise the test could not fail
    assert torch.equal(a_one["one"], b_one["one"])
    assert list(a) == list(b)
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_layer_named_by_its_place_is_that_layer():
    model = zoo.BY_NAME["vit"].build()
    x = zoo.BY_NAME["vit"].draw(2)
    with (
        record(model, ["encoder.layers.2"]) as by_place,
        record(model, ["encoder.layers.encoder_layer_2"]) as by_name,
    ):
        model(x)
    assert torch.equal(by_place["encoder.layers.2"], by_name["encoder.layers.encoder_layer_2"])


def test_each_pass_replaces_the_states_and_reading_changes_nothing():
    animal = zoo.BY_NAME["perceptron"]
    model, a, b = animal.build(), animal.draw(3, 1), animal.draw(5, 2)
    with watch(animal, model) as states:
        model(a)
        first = dict(states)
        assert all(torch.equal(first[k], states[k]) for k in first)  # a second read
        model(b)
        assert {len(v) for v in states.values()} == {5}
        assert all(torch.equal(first[k], states.previous[k]) for k in first)


class Skipping(nn.Module):
    """Its second layer runs for positive input only."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        x = self.a(x)
        return self.c(self.b(x) if self.use_b else x)

    use_b = True


def test_a_skipped_layer_leaves_no_stale_state():
    model = Skipping()
    with record(model, ["a", "b", "c"]) as states:
        model(torch.ones(1, 2))
        model.use_b = False
        model(torch.ones(1, 2))
        assert list(states) == ["a", "c"]
        with pytest.raises(StateError, match="'b' did not run in the last forward pass.*a, c"):
            states["b"]
        with pytest.raises(KeyError, match="'d' is not watched; watched: a, b, c"):
            states["d"]


def test_submodules_called_one_by_one_are_recorded_too():
    model = zoo.perceptron()
    x = torch.randn(2, 6)
    with record(model, ["0", "2"]) as states:
        model[2](model[1](model[0](x)))
    assert list(states) == ["0", "2"]


# Memory and synchronisation


@every_animal
def test_states_own_their_memory_and_no_more(animal):
    model = animal.build()
    with watch(animal, model) as states:
        zoo.call(model, animal.draw(2))
    for state in states.values():
        assert state.untyped_storage().nbytes() == state.numel() * 4
        assert not state.requires_grad
        assert state.grad_fn is None


@every_animal
def test_hooks_never_wait_for_the_device(animal, monkeypatch):
    model, batch = animal.build().to("meta"), animal.draw(2)  # meta tensors hold no numbers
    batch = {k: v.to("meta") for k, v in batch.items()} if animal.tokens else batch.to("meta")

    def forbidden(*_):
        raise AssertionError("a number was read on the host")

    with watch(animal, model) as states:
        for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__"):
            monkeypatch.setattr(torch.Tensor, name, forbidden)
        zoo.call(model, batch)
        monkeypatch.undo()
    assert tuple(states) == animal.states
    assert {v.device.type for v in states.values()} == {"meta"}


# The user's pass


@every_animal
def test_the_output_and_the_gradients_are_bit_for_bit_the_same(animal):
    plain, watched = animal.build(), animal.build()
    batch = animal.draw(3)
    expected = zoo.logits(zoo.call(plain, batch))
    expected.float().square().sum().backward()
    with watch(animal, watched) as states:
        output = zoo.logits(zoo.call(watched, batch))
        output.float().square().sum().backward()
        assert tuple(states) == animal.states  # the backward pass has added nothing
    assert torch.equal(output, expected)
    for a, b in zip(plain.parameters(), watched.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        assert a.grad is None or torch.equal(a.grad, b.grad)


@every_animal
def test_an_error_in_a_hook_waits_until_the_states_are_read(animal):
    model, batch = animal.build(), animal.draw(2)
    expected = zoo.logits(zoo.call(model, batch))

    def broken(_):
        raise ZeroDivisionError("broken pooling")

    with record(model, animal.layers, pooling=broken) as states:
        assert torch.equal(zoo.logits(zoo.call(model, batch)), expected)
        with pytest.raises(StateError, match=f"layer '{animal.layers[0]}': broken pooling"):
            dict(states)
        with pytest.raises(StateError, match="broken pooling"):
            states[animal.layers[0]]


def test_a_good_pass_after_a_bad_one_is_read_normally():
    model = nn.Sequential(nn.Unflatten(1, (1, 1, 1, 1, -1)), nn.Flatten(), nn.Identity())
    with record(model, ["1", "0"]) as states:
        model(torch.ones(2, 3))
        with pytest.raises(StateError, match="layer '0'"):
            states["1"]
        model[0] = nn.Identity()
        model(torch.ones(2, 3))
        assert states["1"].tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_pass_that_was_broken_off_does_not_spoil_the_next(error):
    class Fragile(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)
            self.error = None

        def forward(self, x):
            x = self.a(x)
            if self.error:
                raise self.error
            return self.b(x)

    model, x = Fragile(), torch.ones(1, 2)
    with record(model, ["a", "b"]) as states:
        model.error = error
        with pytest.raises(error):
            model(x)
        model.error = None
        if error is ValueError:  # the pass is known to be over: a part called alone is new
            model.b(x)
            assert list(states) == ["b"]
        for _ in range(2):
            model(x)
            assert list(states) == ["a", "b"]


# Nothing stays behind


@every_animal
def test_no_hook_stays_behind(animal):
    model = animal.build()
    with watch(animal, model), watch(animal, model):
        before = zoo.count_hooks(model)
        zoo.call(model, animal.draw(3))
        assert zoo.count_hooks(model) < before  # the first pass was listened to more closely
    assert zoo.count_hooks(model) == 0
    with contextlib.suppress(RuntimeError), watch(animal, model):
        raise RuntimeError
    assert zoo.count_hooks(model) == 0
    recorder = watch(animal, model)
    recorder.close()
    recorder.close()
    assert recorder.closed
    assert zoo.count_hooks(model) == 0
    kept = watch(animal, model)
    assert zoo.count_hooks(model) >= len(animal.layers) + 2
    del kept
    gc.collect()
    assert zoo.count_hooks(model) == 0


def test_states_outlive_the_recorder_and_nested_records_do_not_mix():
    model = zoo.perceptron()
    x, y = torch.randn(2, 6), torch.randn(3, 6)
    with record(model, ["1"]) as outer:
        with record(model, ["1", "3"]) as inner:
            model(x)
        model(y)
    model(torch.zeros(7, 6))
    assert list(outer) == ["1"]
    assert len(outer["1"]) == 3
    assert list(inner) == ["1", "3"]
    assert len(inner["3"]) == 2


def test_hooks_of_others_are_left_alone():
    model, calls = zoo.perceptron(), []
    model[1].register_forward_hook(lambda *_: calls.append(1))
    with record(model, ["1"]):
        model(torch.zeros(1, 6))
    model(torch.zeros(1, 6))
    assert len(calls) == 2
    assert zoo.count_hooks(model) == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_a_watched_model_works_and_does_not_write_into_the_states(copied):
    animal = zoo.BY_NAME["perceptron"]
    model, x = animal.build(), animal.draw(2)
    with watch(animal, model) as states:
        model(x)
        before = dict(states)
        twin = copied(model)
        twin(100 * x)
        assert all(states[k] is before[k] for k in before)
        assert torch.equal(twin(x), model(x))


def test_a_watched_model_can_be_saved_whole():
    model, file = zoo.perceptron(), io.BytesIO()
    x = torch.randn(2, 6)
    with record(model, ["1"]):
        torch.save(model, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), model(x))


# Checkpointing, compilation, replication


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpointing_runs_layers_twice_and_they_count_once(use_reentrant):
    x = torch.randn(2, 6, requires_grad=True)
    model = zoo.Checkpointed(use_reentrant)
    with record(model, ["blocks.0", "blocks.1", "blocks.2"]) as states:
        model(x).sum().backward()
        assert list(states) == ["blocks.0", "blocks.1", "blocks.2"]
    whole = zoo.perceptron()
    with record(whole, ["1", "3"]) as states:
        output = checkpoint(whole, x, use_reentrant=use_reentrant)
        before = dict(states)
        output.sum().backward()
        assert all(states[k] is before[k] for k in before)
        whole(x)  # and the recorder still listens
        assert states["1"] is not before["1"]
    assert list(states) == ["1", "3"]


@pytest.fixture
def compiler():
    torch._dynamo.reset()
    yield torch.compile
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("through", "backend"), [("network", "eager"), ("network", "aot_eager"), ("compiled", "eager")]
)
def test_hooks_set_before_compilation_fire(compiler, through, backend):
    animal = zoo.BY_NAME["perceptron"]
    model, twin = animal.build(), animal.build()
    one_graph = through == "network"  # then the hooks themselves must not break the graph
    compiled = compiler(model, backend=backend, fullgraph=one_graph)
    with (
        watch(animal, model if through == "network" else compiled) as states,
        watch(animal, twin) as expected,
    ):
        for seed in (1, 2):
            x = animal.draw(3, seed)
            compiled(x), twin(x)
            assert list(states) == ["1", "3", "5"]
            for k in states:
                torch.testing.assert_close(states[k], expected[k])
    assert zoo.count_hooks(model) == 0
    assert torch.equal(compiled(x), model(x))  # recompiled without us


def test_hooks_set_after_a_compiled_run_say_that_they_do_not_fire(compiler):
    animal = zoo.BY_NAME["perceptron"]
    model, x = animal.build(), animal.draw(2)
    compiled = compiler(model, backend="eager")
    compiled(x)
    with record(compiled, ["1", "3"]) as states:
        compiled(x)
        with pytest.raises(StateError, match="torch.compile.*before its first compiled call"):
            states["1"]
        model(x)  # without compilation they do
        assert list(states) == ["1", "3"]
        compiled(x)  # and an old state does not pass for a new one
        with pytest.raises(StateError, match="none of the layers ran"):
            states["1"]


@pytest.mark.parametrize("wrap", [lambda m: m, nn.Sequential, lambda m: torch.compile(m)])
def test_data_parallel_is_refused(wrap):
    with pytest.raises(StateError, match=r"DataParallel.*watch its \.module"):
        record(wrap(nn.DataParallel(zoo.perceptron())), ["module.1"])


def test_distributed_data_parallel_is_watched(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        model = zoo.perceptron()
        x = torch.randn(2, 6)
        wrapped = nn.parallel.DistributedDataParallel(model)
        with record(wrapped, ["1", "3"]) as states:
            wrapped(x).sum().backward()
            seen = dict(states)
            model(x)
        assert list(seen) == ["1", "3"]
        assert all(torch.equal(seen[k], states[k]) for k in seen)
    finally:
        torch.distributed.destroy_process_group()


# Names


def test_layers_are_listed_as_they_run():
    model = zoo.BY_NAME["shared-inplace"].build()
    listed = list_layers(model, torch.zeros(2, 6))
    assert [tuple(info) for info in listed] == [
        ("one", "Linear", (2, 6), "ND", 6),
        ("act", "ReLU", (2, 6), "ND", 6),
        ("two", "Linear", (2, 6), "ND", 6),
        ("act", "ReLU", (2, 6), "ND", 6),
        ("three", "Linear", (2, 6), "ND", 6),
    ]
    assert zoo.count_hooks(model) == 0


def test_listing_shows_every_kind_of_output_and_leaves_no_trace():
    animal = zoo.BY_NAME["language-model"]
    model = animal.build().train()
    shapes = {info.name: info.shape for info in list_layers(model, animal.draw(2))}
    assert shapes["body.embed"] == shapes["body.layers.2"] == shapes["body"] == (2, 7, 8)
    assert model.training
    with pytest.raises(RuntimeError):
        list_layers(model, torch.zeros(2, 7))
    assert zoo.count_hooks(model) == 0
    assert model.training


def unmade(make):
    """The network without numbers: quick to build."""
    with torch.device("meta"):
        return make()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (resnet18, [f"layer{i}.{j}" for i in range(1, 5) for j in range(2)]),
        (lambda: nn.Sequential(nn.Identity(), resnet18()),
         [f"1.layer{i}.{j}" for i in range(1, 5) for j in range(2)]),
        (zoo.small_vit, [f"encoder.layers.encoder_layer_{i}" for i in range(3)]),
        (zoo.LanguageModel, [f"body.layers.{i}" for i in range(3)]),
        (lambda: unmade(vgg11), [f"features.{i}" for i in (1, 4, 7, 9, 12, 14, 17, 19)]
         + ["classifier.1", "classifier.4"]),
        (lambda: zoo.Recurrent(True), ["rnn", "mix"]),
        (zoo.perceptron, ["1", "3", "5"]),
    ],
    ids=["resnet", "wrapped-resnet", "vit", "language-model", "vgg", "lstm", "perceptron"],
)  # fmt: skip
def test_layers_chosen_without_a_name(make, expected):
    assert auto_layers(make()) == expected


@pytest.mark.parametrize("make", [mobilenet_v2, efficientnet_b0])
def test_blocks_are_chosen_and_not_their_parts(make):
    chosen = auto_layers(unmade(make))
    assert len(chosen) >= 15
    assert not any(b.startswith(f"{a}.") for a in chosen for b in chosen)


@pytest.mark.parametrize("make", [lambda: nn.Linear(2, 2), lambda: nn.Sequential(nn.Flatten())])
def test_nothing_to_watch_is_an_error(make):
    with pytest.raises(LayerNotFoundError, match="found nothing to watch.*list_layers"):
        record(make())


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([], "at least one layer name"),
        (["layer4.7"], "ResNet has no layer 'layer4.7'; nearest names: .*layer4.1"),
        (["layer1", "layer5"], "'layer5'; nearest names: .*layer"),
        (["layer1", "layer1"], "given twice"),
        ([3], "expected names .*got 3"),
        ("avgpol", "'avgpol'; nearest names: avgpool"),
        (["layer1.0", "layer1.0.relu", "layer1..0"], "'layer1..0'"),
    ],
)
def test_wrong_names_leave_no_hook(layers, words):
    model = resnet18()
    with pytest.raises(LayerNotFoundError, match=words):
        record(model, layers)
    assert zoo.count_hooks(model) == 0


def test_one_module_under_two_names_is_refused():
    model = zoo.perceptron()
    model.add_module("again", model[1])
    with pytest.raises(LayerNotFoundError, match="'1' and 'again' are one module.*'1#2'"):
        record(model, ["1", "again"])


def test_states_before_the_first_pass():
    with record(zoo.perceptron(), ["1"]) as states:
        with pytest.raises(StateError, match="run the model first"):
            states["1"]
        assert len(states) == 0


def test_a_hook_that_another_thread_removes_in_the_middle_of_a_pass_breaks_nothing():
    """PyTorch forgets that a hook takes keywords before it forgets the hook."""
    model, x = nn.Sequential(nn.Linear(3, 3), nn.ReLU()), torch.ones(2, 3)
    with record(model, ["0"]):
        for module in model.modules():
            module._forward_pre_hooks_with_kwargs.clear()
        assert torch.equal(model(x), model[0](x).relu())
