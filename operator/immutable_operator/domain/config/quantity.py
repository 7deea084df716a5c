"""Resource quantities in one spelling each: ``1``, ``1000m`` and ``1e0`` are the same.

They are read as the API server reads them (apimachinery, pkg/api/resource/quantity.go), including
rounding and cap. ``kubernetes.utils.quantity`` accepts fewer spellings and imports an HTTP client,
which the domain must not do.
"""

from __future__ import annotations

from decimal import ROUND_UP, Context, Decimal, DecimalException, InvalidOperation
from typing import Any

__all__ = ["MILLI", "NANO", "canonical_quantity"]

NANO, MILLI = Decimal("1e-9"), Decimal("1e-3")
_BINARY = {f"{letter}i": Decimal(1024**power) for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL = {
    **{letter: Decimal(10) ** (3 * power) for power, letter in enumerate("kMGTPE", 1)},
    **{letter: Decimal(10) ** (-3 * power) for power, letter in enumerate("mun", 1)},
}
_MOST = Decimal(2**63 - 1)
# A smaller quantity is written with decimal suffixes and keeps its fraction.
_WHOLE_FROM = 1024
_EXACT = Context(prec=64, rounding=ROUND_UP)


def canonical_quantity(given: Any, step: Decimal = NANO) -> Any:
    """Return the number as decimal text, rounded up to whole ``step``; other values unchanged.

    >>> [canonical_quantity(text) for text in ("1Gi", "1024Mi", "1.5", "1500m", 2, "+1e3")]
    ['1073741824', '1073741824', '1.5', '1.5', '2', '1000']
    """
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        return given
    try:
        found = _read(str(given), step)
    except DecimalException:
        return given
    return f"{found.normalize(_EXACT):f}" if found else "0"


def _read(text: str, step: Decimal) -> Decimal:
    scale = _BINARY.get(text[-2:])
    if scale is None:
        suffix = text[-1:]
        scale = _DECIMAL.get(suffix)
        number = text[:-1] if scale else text
        exact = _EXACT.multiply(_number(number), scale or Decimal(1))
        return exact.quantize(step, context=_EXACT)
    exact = _EXACT.multiply(_number(text[:-2]), scale)
    if abs(exact) >= _WHOLE_FROM:
        step = Decimal(1)
    return min(exact.quantize(step, context=_EXACT), _MOST)


def _number(text: str) -> Decimal:
    """Read digits, sign, point and exponent; Python accepts more than that as a number."""
    if not text or text.strip("+-.0123456789eE"):
        raise InvalidOperation
    return _EXACT.create_decimal(text)
