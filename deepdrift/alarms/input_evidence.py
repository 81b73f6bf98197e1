"""What changed in the inputs, in words: statistics of a batch against those of normal inputs.

Brightness, contrast, detail, and for images the place and size of what is in them need no network
to be seen. Neither do the shares of the classes that it predicts. They say which side changed, and
how; the hidden states say where it shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from deepdrift.states.inputs import has_statistics, input_statistics

BORDER = 4.0  # |z| from which a change counts; 3 is exceeded once in 370 numbers, 4 in 16,000
PLACES = ("right", "down", "width", "height", "slant")
_PAIRS = {  # statistic: more, less
    "mean": ("larger numbers", "smaller numbers"),
    "light": ("brighter", "darker"),
    "spread": ("a wider spread", "a narrower spread"),
    "contrast": ("more contrast", "less contrast"),
    "detail across": ("rougher from side to side", "smoother from side to side"),
    "detail down": ("rougher from top to bottom", "smoother from top to bottom"),
    "fine detail": ("more fine detail", "less fine detail"),
    "right": ("objects further right", "objects further left"),
    "down": ("objects lower", "objects higher"),
    "width": ("objects wider", "objects narrower"),
    "height": ("objects taller", "objects shorter"),
    "slant": ("objects slanted to the lower right", "objects slanted to the lower left"),
}
_KINDS = {"light": "light", "mean": "light", "contrast": "light", "spread": "light",
          "right": "place", "down": "place", "width": "size", "height": "size",
          "slant": "place"}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One thing that changed; prints as words with numbers.

    Attributes
    ----------
    what : str
        In words, such as ``less fine detail``.
    z : float
        Standard deviations of the mean of a normal batch; of a layer its drift.
    kind : {"light", "detail", "place", "size", "classes", "states", "channels", "numbers"}
    amount : str
        In units of its own where it has some, such as ``by 4.0 pixels``.

    Examples
    --------
    >>> print(Change("objects lower", 25.2, "place", "by 4.0 pixels"))
    objects lower by 4.0 pixels (+25 sd)
    """

    what: str
    z: float
    kind: str
    amount: str = ""

    def __str__(self) -> str:
        size = "" if self.kind in ("states", "channels", "numbers") else f" ({self.z:+.0f} sd)"
        return f"{self.what}{' ' if self.amount else ''}{self.amount}{size}"


def describe_inputs(x: Tensor) -> tuple[tuple[str, ...], Tensor]:
    """Statistics of every input by name: those of `input_statistics`, and more of images.

    Parameters
    ----------
    x : Tensor, shape (N, ...)
        Anything `deepdrift.states.inputs.has_statistics` accepts. An image is ``(N, C, H, W)`` or
        ``(N, H, W, C)`` with C <= 4.

    Returns
    -------
    names : tuple of str, length S
    values : Tensor, shape (N, S), float64
        Of an image also the mean of every channel (if there are several), and where its content
        lies: centroid to the right and down, width and height (standard deviations around the
        centroid) in shares of the image, and slant, the correlation of both directions. Content
        is how far a pixel, the mean over its channels, lies from the median of the image's border.

    Raises
    ------
    StateError
        For a tensor without statistics.

    Examples
    --------
    A white pixel in the middle of 5 x 5 black ones, then in the lower right corner:

    >>> x = torch.zeros(2, 1, 5, 5)
    >>> x[0, 0, 2, 2] = x[1, 0, 4, 4] = 1.0
    >>> names, values = describe_inputs(x)
    >>> values[:, names.index("right")].tolist(), values[:, names.index("down")].tolist()
    ([0.0, 0.4], [0.0, 0.4])
    """
    values = input_statistics(x).double()
    base = ("mean", "spread", "detail across", "detail down", "fine detail")
    names = {2: base[:2], 4: (*base[:3], "fine detail"), 5: base}[values.shape[1]]
    image = _as_image(x)
    if image is None:
        return names, values
    names, columns = ("light", "contrast", *names[2:]), [values]
    if image.shape[1] > 1:
        columns.append(image.mean(dim=(2, 3)))
        names += tuple(f"channel {i}" for i in range(image.shape[1]))
    return (*names, *PLACES), torch.cat([*columns, _places(image.mean(dim=1))], dim=1)


def _as_image(x: Tensor) -> Tensor | None:
    """The same numbers as ``(N, C, H, W)`` in float64, or None."""
    x = x.detach()
    if x.ndim != 4:
        return None
    if x.shape[3] <= 4 < min(x.shape[1:3]):
        x = x.permute(0, 3, 1, 2)
    return x.double() if x.shape[1] <= 4 < min(x.shape[2:]) else None


def _places(grey: Tensor) -> Tensor:
    """Centroid, extent and slant of the content of images ``(N, H, W)``, shape ``(N, 5)``."""
    border = torch.cat([grey[:, 0], grey[:, -1], grey[:, 1:-1, 0], grey[:, 1:-1, -1]], dim=1)
    weight = (grey - border.median(dim=1).values[:, None, None]).abs()
    total = weight.sum(dim=(1, 2)).clamp(min=1e-12)
    moments = []
    for axis, length in ((1, grey.shape[2]), (2, grey.shape[1])):
        place = (torch.arange(length, dtype=grey.dtype, device=grey.device) + 0.5) / length - 0.5
        share = weight.sum(dim=axis) / total[:, None]
        centre = share @ place
        gap = place - centre[:, None]
        moments.append((centre, (share * gap.square()).sum(dim=1).sqrt(), gap))
    (x, width, dx), (y, height, dy) = moments
    both = torch.einsum("nhw,nh,nw->n", weight, dy, dx) / total
    slant = both / (width * height).clamp(min=1e-9)
    return torch.stack([x, y, width, height, slant], dim=1)


@dataclass
class NormalInputs:
    """Mean and spread of the statistics of normal inputs, and how often each class is predicted.

    Inputs without statistics, or of several kinds (with one and with three channels), have none in
    common: then only the classes are kept.

    Examples
    --------
    Means 2, 4 and 3 with standard deviation 0.82; four times 6 is 3 more:

    >>> normal = NormalInputs()
    >>> normal.add(torch.tensor([[1.0, 3.0], [3.0, 5.0], [2.0, 4.0]]))
    >>> change = normal.compare(torch.tensor([[5.0, 7.0]] * 4))[0]
    >>> print(change.what, round(change.z, 2))  # 3 / (0.82 sqrt(1 / 4 + 1 / 3))
    larger numbers 4.81
    """

    names: tuple[str, ...] | None = None  # None before the first batch; () without statistics
    n: int = 0
    mean: Tensor = field(default_factory=lambda: _none())
    squares: Tensor = field(default_factory=lambda: _none())
    counts: Tensor = field(default_factory=lambda: _none())

    def add(self, x: Tensor | None, logits: Tensor | None = None) -> None:
        """Take a batch of normal inputs, and the logits ``(N, K)`` that came of them."""
        fresh = NormalInputs((), counts=_counts(logits))
        if x is not None and has_statistics(x):
            names, values = describe_inputs(x)
            mean = values.mean(dim=0)
            squares = (values - mean).square().sum(dim=0)
            fresh = NormalInputs(names, len(x), mean.cpu(), squares.cpu(), fresh.counts)
        self.merge(fresh)

    def merge(self, other: NormalInputs) -> None:
        """Take what another one has seen (Chan, Golub and LeVeque 1983)."""
        if other.names is None:
            return
        if self.names is None:
            self.__dict__.update(vars(other))
            return
        same = len(self.counts) == len(other.counts)
        self.counts = self.counts + other.counts if same else _none()
        if self.names != other.names or not self.names:
            self.names, self.n, self.mean, self.squares = (), 0, _none(), _none()
            return
        total, gap = self.n + other.n, other.mean - self.mean
        self.squares = self.squares + other.squares + gap.square() * (self.n * other.n / total)
        self.mean, self.n = self.mean + gap * (other.n / total), total

    def compare(self, x: Tensor | None) -> tuple[Change, ...] | None:
        """All statistics of a batch, the most unusual first; None where nothing is known of them.

        ``z = (batch mean - mean) / (sd sqrt(1 / N + 1 / n))``.
        """
        if not self.names or x is None or not has_statistics(x):
            return None
        names, values = describe_inputs(x)
        lengths = {"right": x.shape[-1], "down": x.shape[-2]}
        if x.ndim == 4 and x.shape[3] <= 4 < min(x.shape[1:3]):
            lengths = {"right": x.shape[2], "down": x.shape[1]}
        return self._changes(names, values, lengths)

    def compare_statistics(self, values: Tensor) -> tuple[Change, ...] | None:
        """`compare` where only the `input_statistics` ``(N, S)`` of a batch were kept."""
        if not self.names:
            return None
        return self._changes(self.names[: values.shape[1]], values.double(), {})

    def _changes(
        self, names: tuple[str, ...], values: Tensor, lengths: Mapping[str, int]
    ) -> tuple[Change, ...]:
        bad = int((~values.isfinite().all(dim=1)).sum())
        if bad:
            what = f"NaN or infinity in {bad} of {len(values)} inputs"
            return (Change(what, math.inf, "numbers"),)
        known = len(names)
        if names != self.names[:known]:
            return (Change("inputs of another kind or with other channels", math.inf, "numbers"),)
        gap = values.mean(dim=0).cpu() - self.mean[:known]
        spread = (self.squares[:known] / self.n).sqrt().clamp(min=1e-9)
        z = gap / (spread * math.sqrt(1 / len(values) + 1 / self.n))
        found = []
        for name, value, much in zip(names, z.tolist(), gap.tolist(), strict=True):
            more, less = _PAIRS.get(name) or (f"{name} brighter", f"{name} darker")
            kind = _KINDS.get(name, "light" if name.startswith("channel") else "detail")
            amount = f"by {abs(much) * lengths[name]:.1f} pixels" if name in lengths else ""
            found.append(Change(more if value > 0 else less, value, kind, amount))
        return tuple(sorted(found, key=lambda c: -abs(c.z)))

    def compare_classes(self, logits: Tensor | None) -> tuple[Change, ...]:
        """Shares of the predicted classes in a batch, the most unusual first.

        The exact binomial tail (with half of the probability of the count itself) as a normal
        score, divided by ``sqrt(1 + N / n)``; a class that normal inputs never gave counts as half
        a one.
        """
        counts = _counts(logits)
        if not len(self.counts) or len(counts) != len(self.counts) or not counts.sum():
            return ()
        from scipy import special

        total, n = float(self.counts.sum()), int(counts.sum())
        normal = (self.counts + 0.5) / (total + 0.5 * len(counts))
        found = []
        for i, (k, p) in enumerate(zip(counts.tolist(), normal.tolist(), strict=True)):
            ways = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
            here = math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))
            above, below = special.bdtrc(k, n, p) + here / 2, special.bdtr(k, n, p) - here / 2
            tail = max(min(above, below), 1e-300)
            z = math.copysign(-float(special.ndtri(tail)), below - above) / math.sqrt(1 + n / total)
            what = f"share of class {i} from {p:.0%} to {k / n:.0%}"
            found.append(Change(what, z, "classes"))
        return tuple(sorted(found, key=lambda c: -abs(c.z)))

    def to_tensors(self) -> dict[str, Tensor]:
        """Named tensors ``input.*`` and ``classes.counts``; inverse: `from_tensors`."""
        out = {"classes.counts": self.counts} if len(self.counts) else {}
        if self.names:
            codes = [_CODES.index(k) if k in _CODES else 100 + int(k[8:]) for k in self.names]
            out |= {
                "input.names": torch.tensor(codes, device="cpu"),
                "input.n": torch.tensor([self.n], device="cpu"),
                "input.mean": self.mean,
                "input.squares": self.squares,
            }
        return out

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> NormalInputs:
        """Inverse of `to_tensors`; without such tensors nothing is known."""
        counts = tensors.get("classes.counts", _none())
        if "input.names" not in tensors:
            return cls((), counts=counts)
        codes = tensors["input.names"].tolist()
        names = tuple(_CODES[c] if c < 100 else f"channel {c - 100}" for c in codes)
        n = int(tensors["input.n"][0])
        return cls(names, n, tensors["input.mean"], tensors["input.squares"], counts)


_CODES = tuple(_PAIRS)  # only ever add at the end: files hold the positions


def _none() -> Tensor:
    return torch.zeros(0, dtype=torch.float64, device="cpu")


def _counts(logits: Tensor | None) -> Tensor:
    """How often each class is the largest of finite logits; empty where there are no classes."""
    if logits is None or logits.ndim != 2 or logits.shape[1] < 2:
        return _none()
    finite = logits.detach()[logits.isfinite().all(dim=1)].cpu()
    return torch.bincount(finite.argmax(dim=1), minlength=logits.shape[1]).double()
