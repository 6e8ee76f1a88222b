"""The script behind the reference numbers of ``test_ppi.py``: ppi-python 0.2.3, numpy 2.

pip install ppi-python==0.2.3 && python tests/ppi_reference.py
"""

from __future__ import annotations

import numpy as np

RESPONDENTS = [30, 50, 20]
"""Of groups a0, a1, a2."""
CHOSE = [[6, 9, 15], [25, 15, 10], [2, 8, 10]]
"""Of each group's respondents, by option."""
PREDICTED = [[0.25, 0.25, 0.5], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5]]
PEOPLE = [500_000, 300_000, 200_000]


def main() -> None:
    """Print the estimate and 90 % interval of each option without and with the predictions."""
    from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

    y = np.concatenate([np.eye(3)[np.repeat(np.arange(3), of)] for of in CHOSE])
    predicted = np.repeat(PREDICTED, RESPONDENTS, axis=0)
    everybody = np.repeat(PREDICTED, PEOPLE, axis=0)
    for power in (0.5, 1.0):
        print("lambda", power)
        print(ppi_mean_pointestimate(y, predicted, everybody, lam=power).tolist())
        low, high = ppi_mean_ci(y, predicted, everybody, alpha=0.1, lam=power)
        print(low.tolist(), high.tolist())
    # The power that leaves the least variance, by search.
    powers = np.linspace(0, 1, 10_001)
    left = [np.var(y - power * predicted, axis=0).sum() for power in powers]
    print("best lambda", powers[np.argmin(left)])


if __name__ == "__main__":
    main()
