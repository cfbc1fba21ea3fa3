"""Compare many frames of the official and the fast environment, resumably.

    python benchmarks/carracing_soak.py --frames 100000 [--out soak.json]

Goes through all situations of ``tests/envs/carracing/situations.py`` with new seeds until ``--frames``
frames in total are in the output file; run again with more frames to go on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "envs" / "carracing"))

from situations import SITUATIONS, run


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--chunk", type=int, default=1200)  # longer than a lap
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("results") / "carracing-soak.json")
    options = parser.parse_args()
    done: dict[str, Any] = {"runs": 0, "frames": 0, "by_situation": {}, "mismatches": [], "seconds": 0.0}
    if options.out.exists():
        done = json.loads(options.out.read_text())
    names = list(SITUATIONS)
    while done["frames"] < options.frames:
        name, seed = names[done["runs"] % len(names)], options.seed + done["runs"]
        start = time.perf_counter()
        frames, mismatches = run(name, seed, options.chunk)
        done["runs"] += 1
        done["frames"] += frames
        done["by_situation"][name] = done["by_situation"].get(name, 0) + frames
        done["mismatches"] += [f"{name}, seed {seed}: {text}" for text in mismatches[:5]]
        done["seconds"] += time.perf_counter() - start
        part = options.out.with_suffix(".part")
        part.write_text(json.dumps(done, indent=1))
        part.replace(options.out)
    print(json.dumps({k: done[k] for k in ("runs", "frames", "by_situation", "seconds")}))
    print(f"{len(done['mismatches'])} mismatches", *done["mismatches"][:20], sep="\n")
    return 1 if done["mismatches"] else 0


if __name__ == "__main__":
    sys.exit(main())
