"""The README's code runs as it is written, in its order, on somebody's model."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import torch
from decoders import huggingface, some_ids
from torch import nn

from deepdrift.lab.diffusion_memorisation.unet import SmallUNet

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


def batches(n: int, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=generator)
    return list(zip(x.split(64), (x[:, 0] > 0).long().split(64), strict=True))


def test_the_code_runs_in_its_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)]
    own, shards, production, confidence, agents, language, diffusion = BLOCKS
    names = {
        "model": nn.Sequential(*layers).eval(),
        "example_batch": batches(4, 0)[0],
        "train_loader": batches(640, 1),
        "held_out_loader": batches(640, 2),
        "new_batch": batches(64, 3)[0],
    }
    exec(own.replace("monitor.close()", "pass"), names)
    assert (tmp_path / "normal.safetensors").exists()
    fit, rest = shards.split("\nfrom deepdrift import merge")
    for i in range(8):
        exec(fit, names | {"i": i, "shard": batches(80, 10 + i)})
    exec("from deepdrift import merge" + rest, names)
    assert names["monitor"].calibration.n_fit == 640
    capsys.readouterr()
    requests = [*batches(640, 4), *((9 * x, y) for x, y in batches(640, 5))]
    requests = [x for many, _ in requests for x in many.split(1)]
    names["requests"] = requests
    exec(production, names)
    assert "3 x ALERT, 0 x INVALID" in capsys.readouterr().out
    generator = torch.Generator().manual_seed(6)
    logits = torch.randn(500, 3, generator=generator) * 3
    names |= {
        "logits": logits,
        "labels": torch.multinomial((logits / 2).softmax(dim=1), 1, generator=generator)[:, 0],
        "classifier": nn.Sequential(nn.Conv2d(1, 4, 3), nn.GELU(), nn.Flatten(), nn.LazyLinear(3)),
        "images": torch.rand(4, 1, 8, 8, generator=generator),
        "shifted": torch.rand(4, 1, 8, 8, generator=generator),
    }
    names["classifier"].eval()(names["images"])
    exec(confidence, names)
    assert 1.5 < names["t"] < 2.5  # the labels were drawn at T = 2
    assert "promised: 20.0%" in capsys.readouterr().out
    rules = names["alert_rules"](names["ObserverConfig"](raise_after=2), "r", step_seconds=30)
    assert "alert: DeepDriftAlert" in rules
    torch.manual_seed(1)
    names["policy"] = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
    exec(agents, names)
    assert capsys.readouterr().out.strip() in ("0", "1")
    pairs = [(row[:5], row[5:]) for row in some_ids(*[8] * 120)]
    names |= {
        "llm": huggingface("llama"),
        "right_pairs": pairs[:50],
        "known_pairs": pairs[50:],
        "is_right": [i % 3 > 0 for i in range(70)],
        "prompt_ids": torch.tensor(some_ids(5, 5, seed=1)),
        "answer_ids": torch.tensor(some_ids(3, 3, seed=2)),
    }
    exec(language, names)
    said = capsys.readouterr().out.splitlines()
    assert (tmp_path / "guard.safetensors").exists() and (tmp_path / "agent.safetensors").exists()
    assert len(said) == 4 and all("doubtful" in line or "not valid" in line for line in said)
    assert names["guard"].trace.tokens.shape[1] <= 8
    train, held_out = (torch.rand(300, 1, 16, 16, generator=generator) * 2 - 1 for _ in range(2))
    names |= {
        "train_images": train,
        "held_out": held_out,
        "samples": train[:8].repeat(5, 1, 1, 1),
        "unet": SmallUNet().eval(),
        "scheduler": SimpleNamespace(alphas_cumprod=torch.linspace(1, 0, 1000)),
    }
    exec(diffusion, names)
    shares, twins, middle = capsys.readouterr().out.splitlines()
    assert shares == "100% [100%, 100%] of 40 samples are copies; of held-out images 0.0%."
    assert twins.startswith("80 pairs of twins among 40 samples: as if drawn from 10 ")
    assert middle.startswith("bottleneck ")
