"""One answer while it grows: passes of the model come in, tokens are settled, a trace goes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deepdrift.guard.checks import GuardError
from deepdrift.guard.decoder import Decoder
from deepdrift.guard.familiar import Sketch
from deepdrift.guard.places import States, moved, states_at
from deepdrift.guard.tokens import answer_mask, log_probabilities
from deepdrift.guard.trace import GuardTrace, blank_trace


class Ends(NamedTuple):
    """Which tokens end an answer, and which one fills a row that stopped."""

    ends: frozenset[int]
    pad: int | None


class _Position(NamedTuple):
    """What the newest position says of the token after it."""

    log_p: Tensor  # (B, V)
    entropy: Tensor  # (B,)
    velocity: Tensor  # (B, L)
    sketch: Tensor  # (B, L, r)


class Settled(NamedTuple):
    """A token that was chosen, and what its position had to say."""

    token: Tensor
    log_prob: Tensor
    entropy: Tensor
    velocity: Tensor
    sketch: Tensor


class Run:
    """Listens to the passes of one generation; every live road is a way of feeding it.

    The first pass is the prompt. Each later pass brings tokens, with a cache (then nothing else)
    or without (then all that came before once more, which is skipped).

    Parameters
    ----------
    decoder : Decoder
    sketch : Sketch
    ends : Ends
    inspect : callable, optional
        Called at each first pass; may refuse it, and say which ends are in use.
    restarts : bool
        Whether a new prompt begins a new answer; otherwise it is refused.
    """

    def __init__(
        self,
        decoder: Decoder,
        sketch: Sketch,
        ends: Ends,
        inspect: Callable[[], Ends | None] | None = None,
        restarts: bool = False,
    ) -> None:
        self.decoder, self.sketch, self.ends = decoder, sketch, ends
        self._inspect, self._restarts = inspect, restarts
        self._begin()

    def _begin(self) -> None:
        self.prompt: Tensor | None = None  # (B, P)
        self.mask: Tensor | None = None  # (B, P)
        self.prompt_sketch: Tensor | None = None
        self.settled: list[Settled] = []
        self.cache: Any = None  # of the last pass
        self.logits: Tensor | None = None  # (B, V), raw, at the newest position
        self._padded = True  # until a prompt says otherwise
        self._pending: _Position | None = None
        self._incoming, self._start = torch.empty(0, 0, device="cpu"), 0
        self._last: States | None = None  # states at the newest position

    # ---- a pass ----

    def entered(self, call: dict[str, Any]) -> None:
        """Take the tokens of a pass that begins, as `deepdrift.guard.tap.Listener`."""
        self.decoder.check_call(call, self._padded)
        ids = call["input_ids"]
        whole = self.prompt is not None and self._repeats(ids)
        if self.prompt is not None and not whole and self._is_first(ids, call["cache"]):
            if not self._restarts:
                raise GuardError(
                    "input_ids: another prompt began while one answer was being watched; watch "
                    "each answer in a block of its own: with guard.watch() as run: ..."
                )
            self._begin()
            self.decoder.check_call(call)
        self._incoming, self._start = ids, 0
        if self.prompt is None:
            self.ends = (self._inspect() if self._inspect else None) or self.ends
            mask = call.get("attention_mask")
            fits = isinstance(mask, Tensor) and mask.shape == ids.shape
            self.mask = mask.bool() if fits else torch.ones_like(ids, dtype=torch.bool)
            self._padded = not bool(self.mask.all())
        elif len(ids) != len(self.prompt):
            raise GuardError(
                f"input_ids: expected {len(self.prompt)} rows as in the prompt, got {len(ids)}; "
                "rows that stopped stay in the batch"
            )
        elif whole:
            self._start = self._n_placed()

    def _n_placed(self) -> int:
        """Positions that the model has seen: a token that was chosen last has none yet."""
        return self.prompt.shape[1] + len(self.settled) - (self._pending is None)

    def _repeats(self, ids: Tensor) -> bool:
        """Whether a pass holds all that came before once more: a loop without a cache."""
        if ids.shape[1] <= self._n_placed() or len(ids) != len(self.prompt):
            return False
        seen = self._seen()
        return torch.equal(ids[:, : seen.shape[1]], seen)

    @staticmethod
    def _is_first(ids: Tensor, cache: Any) -> bool:
        return ids.shape[1] > 1 if cache is None else not _filled(cache)

    def _seen(self) -> Tensor:
        """Prompt and answer so far ``(B, P + T)``."""
        chosen = [step.token[:, None] for step in self.settled]
        return torch.cat([self.prompt, *chosen], dim=1)

    def left(self, states: list[Tensor], result: Any) -> None:
        """Take what a pass made of them, as `deepdrift.guard.tap.Listener`."""
        logits, self.cache = self.decoder.output(result)
        self.logits = logits[:, -1]
        ids, start = self._incoming, self._start
        length = ids.shape[1]
        if self.prompt is None:
            self.prompt, start = ids, length - 1
            before = states_at(states, length - 2) if length > 1 else None
            self._position(states_at(states, length - 1), before, logits[:, -1])
            if before is not None:
                unreal = ~self.mask[:, -2, None]
                velocity = self._pending.velocity.masked_fill(unreal, torch.nan)
                self._pending = self._pending._replace(velocity=velocity)
            self.prompt_sketch = self._pending.sketch
            return
        if logits.shape[1] < length - start:
            raise GuardError(
                f"logits: {length - start} tokens came in one pass and logits of the last "
                f"{logits.shape[1]} were made; give one token a pass, logits_to_keep=0, or, in "
                "generate, no prefill_chunk_size"
            )
        for j in range(start, length):
            self._arrived(ids[:, j])
            self._position(states_at(states, j), self._last, logits[:, j - length])

    def _arrived(self, token: Tensor) -> None:
        if self._pending is not None:
            self.settle(token)
        elif not torch.equal(self.settled[-1].token, token):
            raise GuardError(
                "input_ids: the model was given other tokens than those that were chosen; rows "
                "that change places (beams) or drafts that are taken back (assisted generation) "
                "have no single trace: use greedy search or sampling with one sequence"
            )

    def _position(self, now: States, before: States | None, logits: Tensor) -> None:
        velocity = moved(now, before)
        self._last = now
        self._pending = _Position(*log_probabilities(logits), velocity, self.sketch(now))

    # ---- tokens ----

    @property
    def waiting(self) -> bool:
        """Whether the newest position has been computed and its token is not known yet."""
        return self._pending is not None

    @property
    def sound(self) -> Tensor:
        """Whether the newest logits ``(B,)`` are numbers: an entropy of NaN says they are not."""
        if self._pending is None:
            raise GuardError("trace: the last token has not been given to the model")
        return ~self._pending.entropy.isnan()

    def settle(self, token: Tensor) -> None:
        """The token ``(B,)`` that was chosen after the newest position."""
        at = self._pending
        if at is None:
            raise GuardError("token: two tokens were chosen after one pass of the model")
        token = token.to(at.log_p.device, torch.int64)
        log_prob = at.log_p.gather(1, token[:, None])[:, 0]
        self.settled.append(Settled(token, log_prob, at.entropy, at.velocity, at.sketch))
        self._pending = None

    def complete(self, sequences: Tensor) -> None:
        """Take tokens that no pass has seen: the last one, of what ``generate`` returned."""
        seen = self._checked_prompt()
        sequences = sequences.to(seen.device)
        n = sequences.shape[1] - self._seen().shape[1] if sequences.ndim == 2 else -1
        if n not in (0, 1) or not torch.equal(sequences[:, : sequences.shape[1] - n], self._seen()):
            raise GuardError(
                f"sequences: expected the prompt and answer that were watched, shape "
                f"{tuple(self._seen().shape)} or one token more, got {tuple(sequences.shape)} or "
                "other tokens"
            )
        if n:
            self.settle(sequences[:, -1])

    @property
    def prompts(self) -> tuple[tuple[int, ...], ...]:
        """Token ids of the prompts, without padding."""
        pairs = zip(self._checked_prompt().tolist(), self.mask.tolist(), strict=True)
        return tuple(tuple(t for t, k in zip(*pair, strict=True) if k) for pair in pairs)

    def _checked_prompt(self) -> Tensor:
        if self.prompt is None or self.prompt_sketch is None:
            raise GuardError("trace: no pass of the model was seen yet; run it first")
        return self.prompt

    def trace(self) -> GuardTrace:
        """Everything settled so far; innovation and p-values are for the guard to fill in."""
        prompt = self._checked_prompt()
        n, layers = len(prompt), self.decoder.layers
        sketch = self.prompt_sketch.cpu()
        if self.settled:
            columns = [torch.stack(c, dim=1).cpu() for c in zip(*self.settled, strict=True)]
        else:
            shapes = (n, 0), (n, 0), (n, 0), (n, 0, len(layers)), (n, 0, *sketch.shape[1:])
            columns = [torch.zeros(shape, device="cpu") for shape in shapes]
        tokens = columns[0].long()
        log_prob, entropy, velocity, sketches = columns[1:]
        mask = answer_mask(tokens, *self.ends)
        return blank_trace(
            tokens, mask, log_prob, entropy, velocity, sketches, sketch, layers, self.prompts
        )


def _filled(cache: Any) -> bool:
    """Whether a cache holds tokens; one that cannot tell counts as filled."""
    try:
        return cache.get_seq_length() > 0
    except (AttributeError, TypeError, ValueError, NotImplementedError):
        return True
