"""Operands for any row of the table, whatever mix of lists and single ones it takes."""


def arity(rule, width: int) -> int:
    """How many numbers a row reads, if its lists are so wide."""
    return sum(width if name in rule.lists else 1 for name in rule.operands)


def grouped(rule, flat, width: int) -> list:
    """Numbers or Values as the row takes them: so many to a list, one to a single operand."""
    flat = iter(flat)
    return [
        [next(flat) for _ in range(width)] if name in rule.lists else next(flat)
        for name in rule.operands
    ]
