"""Weights as small integers with scales: each value on its own, or so that a layer's output stays as it was.

A weight matrix has one row for each output. Values of a row that share a scale are a group:
`weight = integer * scale`. At 8 bits the nearest integers are good enough. At 4 bits they are not, and then
what one column loses is made good in the columns that are still to come, as far as the layer's inputs go
together (Frantar et al., GPTQ, arXiv 2210.17323, section 3).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BITS = (4, 5, 6, 8)
# Scales that put the largest weight of a group between these, in steps of the integers, are tried; a smaller
# one cuts the largest weight off, to be finer for all others.
_LEAST_PEAK, _MOST_PEAK, _N_PEAKS = -2.5, 1.5, 21
# Share of the mean second moment that is added to each: keeps the factorisation stable (GPTQ, section 3.3).
_DAMPING = 0.01
_COLUMNS_AT_ONCE = 128


@dataclass(frozen=True, eq=False)
class Rounded:
    """A weight matrix as integers.

    Attributes:
        integers: int8 (rows, columns), each in [-2 ** (bits - 1), 2 ** (bits - 1) - 1].
        scales: float16 (rows, groups); the true scale is that times `2 ** exponent`. May be negative: so the
            largest weight of a group, whatever its sign, can use the one integer that has no opposite.
        exponent: Brings all scales into the range of float16 without a loss.
        bits: Bits of an integer.
        group_size: Columns that share a scale; the last group may be narrower.
    """

    integers: Tensor
    scales: Tensor
    exponent: int
    bits: int
    group_size: int

    def values(self) -> Tensor:
        """Returns the weights that these integers stand for, float32 (rows, columns), exactly."""
        scales = self.scales.float() * 2.0**self.exponent
        columns = self.integers.shape[1]
        return self.integers.float() * scales.repeat_interleave(self.group_size, dim=1)[:, :columns]


def round_weights(
    weights: Tensor, *, bits: int, group_size: int | None = None, moments: Tensor | None = None
) -> Rounded:
    """Rounds a weight matrix.

    Args:
        weights: float32 (rows, columns), finite.
        bits: One of `BITS`.
        group_size: Columns that share a scale; None: all of a row.
        moments: Second moments E[x xᵀ] of the layer's inputs, float32 (columns, columns). With them the error
            of the layer's output is made small, without them that of each weight.
    """
    columns = weights.shape[1]
    group_size = min(group_size or columns, columns)
    if moments is not None and not bool((moments.diagonal() > 0).any()):
        # Inputs that were never anything but 0 say nothing about the weights.
        moments = None
    importance = torch.ones(columns) if moments is None else moments.diagonal().float()
    scales, exponent = _choose_scales(weights, bits, group_size, importance)
    true_scales = scales.float() * 2.0**exponent
    if moments is None:
        column_scales = true_scales.repeat_interleave(group_size, dim=1)[:, :columns]
        integers = _nearest(weights, column_scales, bits)
    else:
        integers = _compensated(weights, true_scales, moments, bits, group_size)
    return Rounded(integers.to(torch.int8), scales, exponent, bits, group_size)


def _nearest(weights: Tensor, scales: Tensor, bits: int) -> Tensor:
    """Returns the integers, as floats, that are nearest to `weights / scales`; 0 where the scale is 0."""
    top = 2 ** (bits - 1)
    steps = torch.where(scales == 0, torch.zeros_like(weights), weights / scales)
    return steps.nan_to_num_(0.0).round_().clamp_(-top, top - 1)


def _choose_scales(weights: Tensor, bits: int, group_size: int, importance: Tensor) -> tuple[Tensor, int]:
    """Finds the scale of each group with the least weighted squared error.

    Returns:
        Scales float16 (rows, groups), and the exponent of two that they are to be multiplied with.
    """
    rows, columns = weights.shape
    missing = -columns % group_size
    groups = torch.nn.functional.pad(weights, (0, missing)).reshape(rows, -1, group_size)
    mass = torch.nn.functional.pad(importance, (0, missing)).reshape(1, -1, group_size)
    top = 2 ** (bits - 1)
    peak = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    largest = float(peak.abs().max()) / top
    # The largest scale becomes some 2 ** 12: small ones are then far from the subnormal float16.
    exponent = math.frexp(largest)[1] - 12 if largest else 0
    peaks = [float(top)]
    if bits < 8:
        peaks = (top + torch.linspace(_LEAST_PEAK, _MOST_PEAK, _N_PEAKS)).tolist()
    best = torch.zeros_like(peak)
    least = torch.full_like(peak, torch.inf)
    for steps_of_peak in peaks:
        tried = _as_float16(-peak / steps_of_peak, exponent)
        integers = _nearest(groups, tried, bits)
        # With these integers, another scale may be better still: the one of least squares.
        inner = (mass * integers * integers).sum(-1, keepdim=True)
        fitted = _as_float16((mass * integers * groups).sum(-1, keepdim=True) / inner, exponent)
        for scales in (tried, fitted.nan_to_num(0.0, 0.0, 0.0)):
            error = (mass * (groups - scales * _nearest(groups, scales, bits)) ** 2).sum(-1, keepdim=True)
            best = torch.where(error < least, scales, best)
            least = torch.minimum(error, least)
    return (best.squeeze(-1) * 2.0**-exponent).half(), exponent


def _as_float16(scales: Tensor, exponent: int) -> Tensor:
    return (scales * 2.0**-exponent).half().float() * 2.0**exponent


def _compensated(weights: Tensor, scales: Tensor, moments: Tensor, bits: int, group_size: int) -> Tensor:
    """Rounds column after column, the most important first, and lets later ones make up for the error."""
    columns = weights.shape[1]
    # Float64, as sums over thousands of nearly dependent inputs are factorised.
    moments = moments.double()
    diagonal = moments.diagonal()
    order = torch.argsort(diagonal, descending=True, stable=True)
    moments = moments + torch.eye(columns, dtype=torch.float64) * _DAMPING * diagonal.mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments[order][:, order]))
    factor = torch.linalg.cholesky(inverse, upper=True)
    left = weights.double()[:, order]
    column_scales = scales.double()[:, order // group_size]
    integers = torch.empty_like(left)
    for start in range(0, columns, _COLUMNS_AT_ONCE):
        stop = min(start + _COLUMNS_AT_ONCE, columns)
        block, errors = left[:, start:stop], []
        for i in range(stop - start):
            scale = column_scales[:, start + i]
            integers[:, start + i] = _nearest(block[:, i], scale, bits)
            row = factor[start + i, start + i : stop]
            error = (block[:, i] - integers[:, start + i] * scale) / row[0]
            block[:, i:] -= error[:, None] * row
            errors.append(error)
        left[:, stop:] -= torch.stack(errors, dim=1) @ factor[start:stop, stop:]
    back = torch.empty_like(order)
    back[order] = torch.arange(columns)
    return integers[:, back]
