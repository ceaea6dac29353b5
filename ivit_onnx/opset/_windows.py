"""Which tokens the windows of Swin have, which of these see each other, and which tokens are merged: integers from
the dimensions of the grid.

Tokens are numbered row by row on a grid of height x width. The grid is shifted cyclically up and to the left, padded
below and on the right to whole windows, and cut into windows, row by row. Places are numbered by window, and row by
row inside a window; the number height * width stands for padding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnxscript import OnnxFunction, script

from ivit_onnx.opset._spec import IVIT, op
from ivit_onnx.opset.arithmetic import Array

__all__ = [
    "PRIMITIVES",
    "MergedTokens",
    "TokenPlaces",
    "WindowOffsets",
    "WindowRegions",
    "WindowTokens",
    "merged_tokens",
    "token_places",
    "window_offsets",
    "window_regions",
    "window_tokens",
]


@script(IVIT, default_opset=op)
def WindowPlaces(height: int, width: int, window: int):
    """Row and column of each place on the shifted and padded grid, int64 [places] each."""
    zero = op.Constant(value_int=0)
    one = op.Constant(value_int=1)
    side = op.Constant(value_int=window)
    area = op.Mul(side, side)
    last = op.Sub(side, one)
    windows_down = op.Div(op.Add(op.Constant(value_int=height), last), side)
    windows_across = op.Div(op.Add(op.Constant(value_int=width), last), side)
    place = op.Range(zero, op.Mul(op.Mul(windows_down, windows_across), area), one)
    number = op.Div(place, area)
    inside = op.Mod(place, area)
    row = op.Add(op.Mul(op.Div(number, windows_across), side), op.Div(inside, side))
    column = op.Add(op.Mul(op.Mod(number, windows_across), side), op.Mod(inside, side))
    return row, column


@script(IVIT, default_opset=op)
def WindowTokens(height: int, width: int, window: int, shift: int):
    """The token at each place of each window, int64 [places]; height * width where there is padding."""
    height_ = op.Constant(value_int=height)
    width_ = op.Constant(value_int=width)
    shift_ = op.Constant(value_int=shift)
    row, column = WindowPlaces(height=height, width=width, window=window)
    token_row = op.Mod(op.Add(row, shift_), height_)
    token_column = op.Mod(op.Add(column, shift_), width_)
    token = op.Add(op.Mul(token_row, width_), token_column)
    exists = op.And(op.Less(row, height_), op.Less(column, width_))
    tokens = op.Where(exists, token, op.Mul(height_, width_))
    return tokens


@script(IVIT, default_opset=op)
def WindowRegions(height: int, width: int, window: int, shift: int):
    """The region of each place, int64 [places]: tokens of one window see each other where their regions are equal.

    Behind the cyclic shift, the last windows of a row and of a column have tokens from both ends of the grid.
    """
    shift_ = op.Constant(value_int=shift)
    row, column = WindowPlaces(height=height, width=width, window=window)
    last_row = op.ReduceMax(row, keepdims=0)
    last_column = op.ReduceMax(column, keepdims=0)
    wrapped_row = op.Greater(op.Add(row, shift_), last_row)
    wrapped_column = op.Greater(op.Add(column, shift_), last_column)
    regions = op.Add(op.Mul(op.Cast(wrapped_row, to=7), op.Constant(value_int=2)), op.Cast(wrapped_column, to=7))
    return regions


@script(IVIT, default_opset=op)
def TokenPlaces(height: int, width: int, window: int, shift: int):
    """The place of each token, int64 [height * width]: the reverse of WindowTokens."""
    height_ = op.Constant(value_int=height)
    width_ = op.Constant(value_int=width)
    side = op.Constant(value_int=window)
    shift_ = op.Constant(value_int=shift)
    one = op.Constant(value_int=1)
    windows_across = op.Div(op.Sub(op.Add(width_, side), one), side)
    token = op.Range(op.Constant(value_int=0), op.Mul(height_, width_), one)
    row = op.Mod(op.Sub(op.Div(token, width_), shift_), height_)
    column = op.Mod(op.Sub(op.Mod(token, width_), shift_), width_)
    number = op.Add(op.Mul(op.Div(row, side), windows_across), op.Div(column, side))
    inside = op.Add(op.Mul(op.Mod(row, side), side), op.Mod(column, side))
    places = op.Add(op.Mul(number, op.Mul(side, side)), inside)
    return places


@script(IVIT, default_opset=op)
def WindowOffsets(window: int):
    """The row of the relative position table for each pair (query, key) of a window, int64 [window^4]."""
    one = op.Constant(value_int=1)
    side = op.Constant(value_int=window)
    area = op.Mul(side, side)
    pair = op.Range(op.Constant(value_int=0), op.Mul(area, area), one)
    query = op.Div(pair, area)
    key = op.Mod(pair, area)
    last = op.Sub(side, one)
    down = op.Add(op.Sub(op.Div(query, side), op.Div(key, side)), last)
    across = op.Add(op.Sub(op.Mod(query, side), op.Mod(key, side)), last)
    offsets = op.Add(op.Mul(down, op.Add(side, last)), across)
    return offsets


@script(IVIT, default_opset=op)
def MergedTokens(height: int, width: int):
    """The four tokens of each square of 2 x 2 tokens, column by column, int64 [squares * 4]; height * width where there
    is none."""
    height_ = op.Constant(value_int=height)
    width_ = op.Constant(value_int=width)
    zero = op.Constant(value_int=0)
    one = op.Constant(value_int=1)
    two = op.Constant(value_int=2)
    four = op.Constant(value_int=4)
    across = op.Div(op.Add(width_, one), two)
    squares = op.Mul(op.Div(op.Add(height_, one), two), across)
    place = op.Range(zero, op.Mul(squares, four), one)
    square = op.Div(place, four)
    row = op.Add(op.Mul(op.Div(square, across), two), op.Mod(place, two))
    column = op.Add(op.Mul(op.Mod(square, across), two), op.Div(op.Mod(place, four), two))
    exists = op.And(op.Less(row, height_), op.Less(column, width_))
    tokens = op.Where(exists, op.Add(op.Mul(row, width_), column), op.Mul(height_, width_))
    return tokens


def _places(height: int, width: int, window: int) -> tuple[Array, Array]:
    """Row and column, on the shifted and padded grid, of each place: [windows, window^2]."""
    down, across = -(-height // window), -(-width // window)
    grid = np.indices((down, window, across, window), np.int64).transpose(0, 1, 3, 2, 4)
    row, column = grid[0] * window + grid[1], grid[2] * window + grid[3]
    shape = (down * across, window * window)
    return row.reshape(shape), column.reshape(shape)


def window_tokens(height: int, width: int, window: int, shift: int) -> Array:
    """The token at each place, int64 [windows, window^2]; height * width where there is padding."""
    row, column = _places(height, width, window)
    token = (row + shift) % height * width + (column + shift) % width
    return np.where((row < height) & (column < width), token, height * width)


def window_regions(height: int, width: int, window: int, shift: int) -> Array:
    """The region of each place, int64 [windows, window^2]: tokens see each other where their regions are equal."""
    row, column = _places(height, width, window)
    down, across = (-(-side // window) * window - shift for side in (height, width))
    return 2 * (row >= down).astype(np.int64) + (column >= across)


def token_places(height: int, width: int, window: int, shift: int) -> Array:
    """The place of each token, int64 [height * width]."""
    tokens = window_tokens(height, width, window, shift).ravel()
    return np.argsort(tokens, kind="stable")[: height * width]


def window_offsets(window: int) -> Array:
    """The row of the relative position table for each pair of tokens, int64 [window^2, window^2]."""
    row, column = (axis.ravel() for axis in np.indices((window, window), np.int64))
    down, across = (axis[:, None] - axis[None, :] + window - 1 for axis in (row, column))
    return down * (2 * window - 1) + across


def merged_tokens(height: int, width: int) -> Array:
    """The four tokens of each square of 2 x 2, column by column, int64 [squares, 4]; height * width for none."""
    down, across = -(-height // 2), -(-width // 2)
    row, column = np.indices((2 * down, 2 * across), np.int64)
    tokens = np.where((row < height) & (column < width), row * width + column, height * width)
    return tokens.reshape(down, 2, across, 2).transpose(0, 2, 3, 1).reshape(down * across, 4)


PRIMITIVES: tuple[OnnxFunction[..., Any], ...] = (
    WindowPlaces,
    WindowTokens,
    WindowRegions,
    TokenPlaces,
    WindowOffsets,
    MergedTokens,
)
