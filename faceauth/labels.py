"""The one place that knows which class has which number, and how splits are called.

`target` is 1 for real and 0 for fake, as in the original FaceAuth spreadsheets. Everything else in the
package speaks of `p_fake` by name and never of a column index.
"""

FAKE = 0
REAL = 1

ID2LABEL = {FAKE: "fake", REAL: "real"}
LABEL2ID = {label: target for target, label in ID2LABEL.items()}
CLASSES = tuple(LABEL2ID)

TRAIN, VAL, TEST = SPLITS = ("train", "val", "test")

# The original report used "test" for decisions made during training and kept "dev" untouched.
ORIGINAL_SPLITS = {"train": TRAIN, "test": VAL, "dev": TEST}


def is_original_naming(split_names: set[str]) -> bool:
    """Tells whether a table's splits follow the original report's naming (`train`, `test`, `dev`).

    Args:
        split_names: All the names in a table's `split` column.

    Returns:
        True if there is a `dev` split and no `val` split: only then does `test` mean `val`.
    """
    return "dev" in split_names and VAL not in split_names
