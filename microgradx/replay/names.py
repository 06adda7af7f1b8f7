"""The names in generated source: of NumPy's functions, of numbers, and of what the user named."""

from __future__ import annotations

import keyword
import re

NUMPY_CALLS = {
    "add", "subtract", "multiply", "divide", "negative", "sqrt", "abs", "sign", "maximum",
    "minimum", "where", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
    "logical_and", "logical_not", "exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "power",
    "square", "take", "copyto",
}  # fmt: skip
OUR_CALLS = {"erfc", "in_turn", "normal_cdf", "normal_pdf", "pull"}
NUMBERS = {0.0: "zero", 1.0: "one", 2.0: "two", 0.5: "half", -1.0: "minus_one"}
TAKEN = {
    *NUMPY_CALLS, *OUR_CALLS, *NUMBERS.values(), "np", "inf", "nan", "prepare", "forward",
    "backward",
    "n", "p", "g", "v", "e", "constants", "dtype", "share", "shares", "bool",
}  # fmt: skip


def variable(name: str, others: set[str]) -> str:
    """A variable for an input called `name`, like no other name in the source.

    Names that the source makes up end in a digit, in T or in _ones; then, or if it is taken, or no
    name in Python at all, a _ is put behind.
    """
    found = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not found[:1].isalpha():
        found = f"x{found}"
    while (
        found in TAKEN or found in others or keyword.iskeyword(found)
        or keyword.issoftkeyword(found) or found[-1].isdigit() or found.endswith(("T", "_ones"))
    ):  # fmt: skip
        found += "_"
    return found
