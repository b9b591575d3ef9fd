"""Conditions over named figures, such as ``p99_ms > 20 or top1_drop > 0.5``: a gate for CI.

Python's own parser reads them, and what it read is walked: names, numbers, comparisons, ``and``, ``or``, ``not`` and
arithmetic. Nothing is ever executed.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

from edgecnn.errors import InputError

_LONGEST = 1000
_COMPARE: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_EXAMPLE = "for example --fail-if 'p99_ms > 20 or top1_drop > 0.5'"


class Condition:
    """One condition.

    Args:
        text: As it was typed.

    Raises:
        InputError: It is no condition, or has something in it beside figures, numbers and the operators above.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            if len(text) > _LONGEST:
                raise ValueError
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise InputError(f"--fail-if {text[:_LONGEST]}: cannot be read as a condition", _EXAMPLE) from None
        self.names = tuple(dict.fromkeys(node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)))
        if not isinstance(self._value(self._tree, dict.fromkeys(self.names, 1.5)), bool):
            raise InputError(f"--fail-if {text}: a figure, and no condition: nothing is compared", _EXAMPLE)

    def holds(self, figures: Mapping[str, float], owner: str = "this profile") -> bool:
        """Whether it is true of some figures.

        Args:
            figures: By name.
            owner: Whose they are, for messages.

        Raises:
            InputError: It asks for another.
        """
        unknown = [name for name in self.names if name not in figures]
        if unknown:
            raise InputError(
                f"--fail-if {self.text}: {owner} has no figure {unknown[0]}", f"it has: {', '.join(sorted(figures))}"
            )
        return bool(self._value(self._tree, figures))

    def found(self, figures: Mapping[str, float]) -> str:
        """The figures that it asks for, in words."""
        return ", ".join(f"{name} is {figures[name]:.4g}" for name in self.names if name in figures)

    def _value(self, node: ast.expr, figures: Mapping[str, float]) -> float | bool:
        match node:
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(self._truth(part, figures) for part in parts)
            case ast.BoolOp(values=parts):
                return any(self._truth(part, figures) for part in parts)
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return not self._truth(part, figures)
            case ast.UnaryOp(op=ast.USub(), operand=part):
                return -self._number(part, figures)
            case ast.Compare(left=first, ops=ops, comparators=others):
                values = [self._number(part, figures) for part in (first, *others)]
                if any(type(each) not in _COMPARE for each in ops):
                    raise self._refusal(node)
                pairs = zip(ops, values, values[1:], strict=False)
                return all(_COMPARE[type(each)](left, right) for each, left, right in pairs)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                try:
                    return _ARITHMETIC[type(op)](self._number(left, figures), self._number(right, figures))
                except ZeroDivisionError:
                    raise InputError(f"--fail-if {self.text}: divides by zero", _EXAMPLE) from None
            case ast.Name(id=name):
                return float(figures[name])
            case ast.Constant(value=bool()):
                raise self._refusal(node)
            case ast.Constant(value=(int() | float()) as value):
                return float(value)
            case _:
                raise self._refusal(node)

    def _truth(self, node: ast.expr, figures: Mapping[str, float]) -> bool:
        value = self._value(node, figures)
        if not isinstance(value, bool):
            raise self._refusal(node)
        return value

    def _number(self, node: ast.expr, figures: Mapping[str, float]) -> float:
        value = self._value(node, figures)
        if isinstance(value, bool):
            raise self._refusal(node)
        return value

    def _refusal(self, node: ast.AST) -> InputError:
        part = ast.unparse(node)
        return InputError(
            f"--fail-if {self.text}: {part} is not understood here",
            "figures, numbers, + - * /, comparisons, and, or, not",
        )
