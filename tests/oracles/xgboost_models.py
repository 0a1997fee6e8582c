"""Write small boosters and what they predict, into ``tests/steps/converters/xgboost``, with the XGBoost that runs this.

    python tests/oracles/xgboost_models.py     # once with each of 0.90, 1.6.2, 2.1.4, 3.4.1 (xgboost-cpu for the last two)

Each model has an npz beside it: ``x`` with missing values, and ``predict``.
"""

import sys
from pathlib import Path

import numpy as np
import xgboost

FOLDER = Path(__file__).resolve().parents[1] / "steps" / "converters" / "xgboost"
VERSION = xgboost.__version__
OLD = VERSION.startswith("0.")
MAJOR = int(VERSION.partition(".")[0])
RANDOM = np.random.RandomState(0)


def features(rows):
    """Return values of two digits, so that some lie on a threshold; a tenth is missing."""
    values = np.round(RANDOM.rand(rows, 6), 2).astype("float32")
    values[RANDOM.rand(rows, 6) < 0.1] = np.nan
    return values


TRAIN, TEST = features(200), features(40)
FIRST = np.nan_to_num(TRAIN[:, 0])


def save(name, booster, suffix, test=TEST, **options):
    stem = f"{FOLDER}/{name}-{VERSION}"
    limit = {"ntree_limit": 1 << 20} if OLD and "linear" not in name else {}  # else dart drops trees
    np.savez_compressed(stem + ".npz", x=test, predict=booster.predict(xgboost.DMatrix(test, **options), **limit))
    booster.save_model(stem + ".tmp" + suffix)
    # XGBoost 2 writes the binary encoding under this suffix alone.
    Path(stem + ".tmp" + suffix).replace(stem + suffix.replace(".deprecated", ".bin"))


def train(objective, label, rounds=3, **parameters):
    given = {"objective": objective, "max_depth": 3, "nthread": 1, "seed": 0}
    given.update(parameters)
    return xgboost.train(given, xgboost.DMatrix(TRAIN, label), rounds)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    binary = ".deprecated" if MAJOR == 2 else ".bin" if OLD else ".json"
    classes = np.minimum(2, (FIRST * 3).astype(int))
    save("logistic", train("binary:logistic", FIRST > 0.3, base_score=0.3), binary)
    save("poisson", train("count:poisson", classes), binary)
    save("hinge", train("binary:hinge", FIRST > 0.3), binary)
    save("softprob", train("multi:softprob", classes, num_class=3), binary)
    save("dart", train("reg:squarederror", FIRST, booster="dart", rate_drop=0.5, rounds=6), binary)
    save("linear", train("reg:squarederror", FIRST, booster="gblinear"), binary)
    save("logitraw", train("binary:logitraw", FIRST > 0.3, base_score=0.3), binary)
    if OLD:
        return
    save("softmax", train("multi:softmax", classes, num_class=3), ".ubj")
    save("forest", train("reg:squarederror", FIRST, rounds=2, num_parallel_tree=3, subsample=0.5), ".ubj")
    kinds = ["q", "c", "c", "q", "q", "q"]
    for several in (TRAIN, TEST):
        several[:, 1], several[:, 2] = RANDOM.randint(0, 45, len(several)), RANDOM.randint(0, 4, len(several))
        several[::7, 1] = np.nan
    options = {"feature_types": kinds, "enable_categorical": True}
    matrix = xgboost.DMatrix(TRAIN, FIRST + np.nan_to_num(TRAIN[:, 2]), **options)
    parameters = {"tree_method": "hist", "max_depth": 4, "max_cat_to_onehot": 1, "nthread": 1}
    save("categories", xgboost.train(parameters, matrix, 3), ".json", **options)
    if MAJOR >= 2:
        targets = np.stack([FIRST, 1 - FIRST], 1)
        for strategy in ("one_output_per_tree", "multi_output_tree"):
            booster = train("reg:squarederror", targets, multi_strategy=strategy, tree_method="hist")
            save(strategy, booster, ".json")
        save("quantile", train("reg:quantileerror", FIRST, quantile_alpha=[0.3, 0.7]), ".ubj")
    if MAJOR >= 3:
        save("expectile", train("reg:expectileerror", FIRST, expectile_alpha=[0.2, 0.8]), ".ubj")


if __name__ == "__main__":
    sys.exit(main())
