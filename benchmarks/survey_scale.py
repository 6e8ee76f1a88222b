"""Seconds and memory of ``calib survey`` on a file that is too large to be held whole.

    python -m benchmarks.survey_scale [--people 450000] [--items 300] [--design]

Simulates the Parquet file of a large survey in blocks of rows (eight group variables, a
weight, items of 2 to 10 codes, a tenth of the answers missing), runs the command on it in a
process of its own, checks some shares against those of the columns read alone, and prints
what it took as one JSON document.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from benchmarks.record import record

GROUPS = (2, 6, 5, 4, 10, 3, 60, 8)
"""How many groups each attribute has; the seventh are countries."""
BLOCK = 50_000


@click.command()
@click.option("--people", default=450_000, show_default=True, help="Respondents.")
@click.option("--items", default=300, show_default=True, help="Questions.")
@click.option("--design", is_flag=True, help="With strata and sampling units.")
@click.option("--seed", default=0, show_default=True, help="Of the simulated answers.")
def main(people: int, items: int, design: bool, seed: int) -> None:
    """Simulate, run, check, and print one JSON document."""
    with tempfile.TemporaryDirectory() as folder:
        source, human = Path(folder) / "people.parquet", Path(folder) / "human.parquet"
        write_people(source, people, items, seed)
        groups = ",".join(f"g{number}" for number in range(len(GROUPS)))
        words = ["survey", source, "-o", human, "--groups", groups, "--weight", "w", "--json"]
        words += ["--strata", "stratum", "--psu", "unit"] if design else []
        # The child tells what it used: the parent is no part of it.
        code = (
            "import resource, sys\nfrom calib.cli import main\n"
            "try:\n    main()\nfinally:\n"
            "    used = resource.getrusage(resource.RUSAGE_SELF)\n"
            "    print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)"
        )
        before = os.getloadavg()[0]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            capture_output=True,
            text=True,
            check=True,
        )
        seconds = time.perf_counter() - start
        frame = pd.read_parquet(human)
        document = {
            "people": people,
            "items": items,
            "attributes": len(GROUPS) + 1,
            "design": design,
            "file_mib": round(source.stat().st_size / 2**20),
            "rows_of_human": len(frame),
            "questions": json.loads(done.stdout)["counts"]["questions"],
            "largest_error_of_a_share": largest_error(source, frame, items),
            "seconds": round(seconds, 1),
            "cpu_seconds": round(float(done.stderr.split()[-2]), 1),
            # Kibibytes on Linux.
            "peak_gib": round(int(done.stderr.split()[-1]) / 2**20, 2),
            "load_before": round(before, 2),
            "record": record(seed),
        }
    click.echo(json.dumps(document, indent=1))


def write_people(path: Path, people: int, items: int, seed: int) -> None:
    """Blocks of respondents, each from a generator of its own."""
    writer = None
    for number, start in enumerate(range(0, people, BLOCK)):
        rng = np.random.default_rng([seed, number])
        n = min(BLOCK, people - start)
        columns: dict[str, pa.Array] = {}
        for place, size in enumerate(GROUPS):
            columns[f"g{place}"] = pa.array(rng.integers(0, size, n, dtype=np.int16))
        columns["w"] = pa.array(rng.exponential(size=n))
        columns["stratum"] = pa.array(rng.integers(0, 60, n, dtype=np.int16))
        columns["unit"] = pa.array(rng.integers(0, 40, n, dtype=np.int16))
        for place in range(items):
            answer = rng.integers(1, 3 + place % 9, n, dtype=np.int16)
            columns[f"q{place}"] = pa.array(answer, mask=rng.random(n) < 0.1)
        table = pa.table(columns)
        writer = writer or pa.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def largest_error(source: Path, human: pd.DataFrame, items: int) -> float:
    """Over three questions by country, against pandas."""
    worst = 0.0
    for name in {f"q{place}" for place in (0, items // 2, items - 1)}:
        people = pd.read_parquet(source, columns=[name, "g6", "w"]).dropna()
        mass = people.groupby(["g6", name])["w"].sum()
        expected = mass / mass.groupby("g6").transform("sum")
        mine = human[(human["question_id"] == name) & (human["attribute"] == "g6")]
        keys = [mine["group"].astype(int), mine["option"].astype(int)]
        found = mine["p_human"].set_axis(pd.MultiIndex.from_arrays(keys))
        worst = max(worst, float((found - expected.reindex(found.index)).abs().max()))
    return worst


if __name__ == "__main__":
    main()
