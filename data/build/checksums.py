"""Write ``data/SHA256SUMS`` and the generated tables of ``data/README.md``.

    python data/build/checksums.py            after a rebuild
    sha256sum --check SHA256SUMS              in data/, to verify by hand

Covers the data, weights, tables and TensorBoard logs below the folder. The README's tables,
checksums and what the networks' headers state, lie between marker comments.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from safetensors import safe_open

SUFFIXES = {".npz", ".safetensors", ".json"}


def checksums(folder: Path) -> dict[str, str]:
    """Relative POSIX path -> sha256 of every data file, sorted by path."""
    files = sorted(
        path for path in folder.rglob("*") if path.suffix in SUFFIXES or "tfevents" in path.name
    )
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def manifest(sums: dict[str, str]) -> str:
    """The lines that ``sha256sum --check`` reads."""
    return "".join(f"{digest}  {name}\n" for name, digest in sums.items())


def checksum_table(sums: dict[str, str], folder: Path) -> str:
    """A Markdown table of file, size and checksum."""
    rows = [
        f"| `{name}` | {(folder / name).stat().st_size:,} | `{digest}` |"
        for name, digest in sums.items()
    ]
    return "\n".join(["| file | bytes | sha256 |", "| --- | ---: | --- |", *rows])


def network_table(sums: dict[str, str], folder: Path) -> str:
    """A Markdown table of what the headers of the image networks state."""
    rows = []
    for name in sums:
        if not name.endswith(".safetensors"):
            continue
        with safe_open(folder / name, "np") as file:
            header = file.metadata() or {}
        if "test_accuracy" in header:
            classes = " ".join(map(str, json.loads(header["classes"])))
            rows.append(
                f"| `{name}` | {classes} | {int(header['train_images']):,} | {header['epochs']} | "
                f"{float(header['test_accuracy']):.2%} of {int(header['test_images']):,} |"
            )
    head = ["| file | classes | training images | epochs | correct on test images |"]
    return "\n".join([*head, "| --- | --- | ---: | ---: | ---: |", *rows])


def insert(text: str, name: str, table: str) -> str:
    """Replace what lies between the two marker comments of this name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = text.split(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.split(end)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1])
    folder = parser.parse_args().folder
    sums = checksums(folder)
    (folder / "SHA256SUMS").write_text(manifest(sums), encoding="utf-8", newline="\n")
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8")
    text = insert(text, "networks", network_table(sums, folder))
    text = insert(text, "checksums", checksum_table(sums, folder))
    readme.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
