"""Decodes a walk along the latent dimension that says most: what V has put there.

python examples/latent_walk.py results/carracing walk.png
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from PIL import Image

from vmc import load_run


def main(path: str, picture: str) -> None:
    run = load_run(path)
    means = run.starts.means
    spread = means.std(dim=0)
    dimension = int(spread.argmax())
    walk = means[:1].repeat(9, 1)
    walk[:, dimension] = torch.linspace(-2, 2, 9) * spread[dimension]
    Image.fromarray(np.concatenate(list(run.decode(walk)), axis=1)).save(picture)
    print(f"{picture}: dimension {dimension} from -2 to 2 standard deviations")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
