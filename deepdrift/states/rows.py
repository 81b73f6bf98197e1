"""A row of a state is a sample: what says so, and what to do where it is not one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from deepdrift.errors import StateError


class NoSamples(StateError):
    """Rows of a state that are no samples."""


REMEDY = (
    "Name layers around or behind it with layers= (layer_names= of a monitor), the axes with "
    "layout=, or give pooling= a function that returns (samples, D). If a batch holds another "
    "number of samples than its first axis says: forward=lambda model, batch: model(batch) of a "
    "monitor or collect, which then does not count"
)


def check_rows(
    state_rows: int,
    shape: tuple[int, ...],
    rows: int,
    inputs: tuple[int, ...],
    answer: tuple[int, ...] | None = None,
    name: str = "",
) -> None:
    """Refuse a state that has another number of rows than the batch has samples.

    Parameters
    ----------
    state_rows : int
    shape : tuple of int
        Shape of the layer's output, for the message.
    rows, inputs : int, tuple of int
        Samples of the batch, and the shape of the input that says so.
    answer : tuple of int, optional
        See `answer_for_many`.
    name : str
        Of the layer, if the user did not name its axes.

    Raises
    ------
    StateError
        Saying what the rows may be, and the remedy.

    Examples
    --------
    >>> check_rows(4, (4, 8), 4, (4, 3))
    >>> check_rows(1, (1, 9, 8), 4, (4, 3))
    Traceback (most recent call last):
    deepdrift.states.rows.NoSamples: its output of shape (1, 9, 8) has 1 row for 4 samples ...
    """
    if state_rows == rows:
        return
    has = f"its output of shape {shape} has {state_rows} row{'s' * (state_rows != 1)} for"
    if len(inputs) == 1:
        raise NoSamples(
            f"{has} an input of shape {inputs}, which has no batch axis: for one sample pass "
            "x[None], for a data set a DataLoader"
        )
    if answer is not None:
        what = (
            f"and the model gives an answer of shape {answer} for them: they may be instances of a "
            "bag, points of a set or nodes of a graph"
        )
    elif state_rows == 1:
        what = "and these are position embeddings, learned queries or weights, or the whole batch"
    elif state_rows < rows and rows % state_rows == 0:
        what = (
            "and these are tokens, nodes or boxes, or a part of the batch, if the model cuts it up "
            f"(then give batches of {state_rows})"
        )
    else:
        what = "and these are windows, crops, tokens, nodes or boxes"
    if len(shape) == 3 and shape[1] == rows and name:
        what += f'; if time comes first here, say layout={{"{name}": "TND"}}'
    elif len(inputs) == 3 and len(shape) == 3 and name:
        what += ", or the input has no batch axis (for a data set pass a DataLoader)"
    raise NoSamples(
        f"{has} {rows} samples (input of shape {inputs}): a row must be a sample, {what}. {REMEDY}"
    )


def run_one_by_one(n: int) -> NoSamples:
    """What is said of a layer that ran n times for n samples, and has no rows for them."""
    return NoSamples(
        f"it ran {n} times for {n} samples: the model loops over samples, and a state needs one "
        "row for each sample of one run. Give batches of one sample, and where the layer sees no "
        "axis for samples pooling=lambda h: h[None]; or name layers that see the whole batch with "
        "layers= (layer_names= of a monitor)"
    )


def answer_for_many(output: Any, rows: int | None) -> tuple[int, ...] | None:
    """Shape of what a model returned, if that is fewer answers than the batch has rows.

    Then rows are parts of a sample (instances of a bag, points of a set, nodes of a graph), or
    the model compares samples. No answer is a loss: a single number, in no tuple but its own.

    Parameters
    ----------
    output : Tensor, tuple, list or mapping
        Of a tuple the first tensor counts that is more than a number, and no list of mappings, as
        detectors return it.
    rows : int, optional
        Rows of the model's input; None if not known.

    Examples
    --------
    >>> import torch
    >>> bag = torch.zeros(1, 3)
    >>> answer_for_many(bag, 40), answer_for_many((bag, torch.zeros(1, 40)), 40)
    ((1, 3), (1, 3))
    >>> answer_for_many(torch.zeros(40, 3), 40), answer_for_many(torch.zeros(()), 40)
    (None, None)
    """
    tensors = [t for t in _plain(output) if not t.is_nested and t.ndim and t.shape != (1,)]
    if rows is None or not tensors:
        return None
    first = tuple(tensors[0].shape)
    if rows in first or first[0] >= rows or any(len(t) == rows for t in tensors):
        return None
    return first


def say_answer(answer: tuple[int, ...] | None, rows: int | None) -> str:
    """The sentence about `answer_for_many`, empty if there is nothing to say.

    Examples
    --------
    >>> say_answer(None, 40)
    ''
    """
    if answer is None:
        return ""
    return (
        f"model: it returned an answer of shape {answer} for an input of {rows} rows. If its rows "
        "are parts of one sample (a bag, a set, nodes of a graph), every part counts as a sample "
        "here. For one row a sample give forward=lambda model, batch: model(batch), with which "
        "rows are not counted, and name layers behind the pooling with layers= (layer_names= of a "
        "monitor), or give pooling=lambda h: h.mean(0, keepdim=True)"
    )


def _plain(output: Any) -> Iterator[Tensor]:
    """Tensors of an output or of a tuple, list or mapping of tensors."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from (v for v in output.values() if isinstance(v, Tensor))
    elif isinstance(output, tuple | list):
        yield from (v for v in output if isinstance(v, Tensor))
