"""Materials of the mini model's scenes: fields that mix two colours, at two scales, and fields of small shapes.

Each is a tile of values in 0..1 that repeats without a seam; a scene says where in the tile it starts, so that no two
pictures show the same piece of marble. What a caption says of it is in `name`.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

TILE = 512  # pixels
STUFFS = ["cloudy", "marble", "wooden", "woven", "brick", "pebbled", "cracked", "wavy", "spotted", "grainy"]
SCALES = {"fine": 2, "coarse": 1}  # how often the field's structure repeats, in relation
CROWDS = ["dots", "squares", "rings", "stars"]  # many small ones, for backgrounds only
NAMES = [f"{scale} {stuff}" for stuff in STUFFS for scale in SCALES]
SURFACES = len(NAMES)  # of these shapes are made too
GROUNDS = SURFACES + len(CROWDS)


def _noise(generator: torch.Generator, low: float, high: float, slope: float) -> Tensor:
    """Periodic noise with frequencies low..high (cycles a tile) and amplitude f**-slope; unit variance."""
    spectrum = torch.fft.rfft2(torch.randn(TILE, TILE, generator=generator))
    f = torch.hypot(torch.fft.fftfreq(TILE, 1 / TILE)[:, None], torch.fft.rfftfreq(TILE, 1 / TILE)[None])
    band = f.clamp(min=1) ** -slope * torch.sigmoid((f - low) / (0.1 * low)) * torch.sigmoid((high - f) / (0.1 * high))
    field = torch.fft.irfft2(spectrum * band, s=(TILE, TILE))
    return field / field.std()


def _grid() -> tuple[Tensor, Tensor]:
    return torch.meshgrid(torch.arange(TILE) + 0.5, torch.arange(TILE) + 0.5, indexing="ij")


def _cells(generator: torch.Generator, across: int) -> tuple[Tensor, Tensor, Tensor]:
    """Distances to the nearest and second nearest of across² scattered points, and the nearest one's random level."""
    side = TILE / across
    offset = 0.5 + (torch.rand(2, across, across, generator=generator) - 0.5) * 0.8
    shade = torch.rand(across, across, generator=generator)
    y, x = _grid()
    row, column = (y / side).long(), (x / side).long()
    first, second = torch.full((2, TILE, TILE), math.inf)
    level = torch.zeros(TILE, TILE)
    for i in range(-2, 3):
        for j in range(-2, 3):
            r, c = (row + i) % across, (column + j) % across
            d = torch.hypot((row + i + offset[0, r, c]) * side - y, (column + j + offset[1, r, c]) * side - x)
            level = torch.where(d < first, shade[r, c], level)
            second = torch.minimum(second, torch.maximum(first, d))
            first = torch.minimum(first, d)
    return first, second, level


def _stuff(name: str, k: int, generator: torch.Generator) -> Tensor:
    y, x = torch.meshgrid(torch.arange(TILE) / TILE, torch.arange(TILE) / TILE, indexing="ij")
    turn = 2 * math.pi
    match name:
        case "cloudy":
            return 0.5 + 0.28 * _noise(generator, 2 * k, 48, 1.6)
        case "marble":
            bend = _noise(generator, 2 * k, 16 * k, 1.8)
            return 1 - (torch.sin(turn * 4 * k * (x + y) + 2.2 * bend)).abs() ** 0.6
        case "wooden":
            bend = _noise(generator, 1, 8 * k, 1.2)
            return 0.5 + 0.5 * torch.sin(turn * 10 * k * y + 1.8 * bend) * (0.75 + 0.25 * torch.sin(turn * 3 * k * x))
        case "woven":
            n = 16 * k
            over = torch.sin(turn * n / 2 * x) * torch.sin(turn * n / 2 * y) > 0
            threads = torch.where(over, torch.sin(turn * n / 2 * y), torch.sin(turn * n / 2 * x)).abs()
            return torch.where(over, 0.55 + 0.45 * threads, 0.45 - 0.45 * threads)
        case "brick":
            rows = 16 * k
            row = torch.floor(y * rows)
            u, v = (x * rows / 2 + 0.5 * (row % 2)) % 1, (y * rows) % 1
            level = torch.rand(rows, rows // 2, generator=generator)
            column = torch.floor(x * rows / 2 + 0.5 * (row % 2)).long() % (rows // 2)
            joint = (torch.minimum(u, 1 - u) * 2 * TILE / rows < 2.0) | (torch.minimum(v, 1 - v) * TILE / rows < 2.0)
            return torch.where(joint, 1.0, 0.45 * level[row.long(), column])
        case "pebbled":
            first, second, level = _cells(generator, 10 * k)
            return (0.35 + 0.65 * level) * ((second - first) / 6).clamp(0, 1)
        case "cracked":
            first, second, _ = _cells(generator, 8 * k)
            return (1.5 - (second - first) / 3).clamp(0, 1)
        case "wavy":
            return 0.5 + 0.5 * torch.sin(turn * (12 * k * y + 0.6 * torch.sin(turn * 5 * k * x)))
        case "spotted":
            first, _, level = _cells(generator, 12 * k)
            return ((0.14 + 0.24 * level) * TILE / (12 * k) - first + 0.5).clamp(0, 1)
        case _:
            return 0.5 + 0.22 * _noise(generator, 20 * k, 44 * k, 0.5)


def _crowd(name: str, generator: torch.Generator) -> Tensor:
    """Sixty-four of one small shape, each in its own cell of a grid, so that none touches another."""
    n, side = 8, TILE // 8
    place, size = 0.3 + 0.4 * torch.rand(2, n, n, generator=generator), torch.rand(n, n, generator=generator)
    y, x = _grid()
    row, column = (y / side).long(), (x / side).long()
    r = 8 + 8 * size[row, column]
    dy, dx = y - (row + place[0, row, column]) * side, x - (column + place[1, row, column]) * side
    length = torch.hypot(dy, dx)
    match name:
        case "dots":
            d = length - r
        case "squares":
            d = torch.maximum(dy.abs(), dx.abs()) - 0.86 * r
        case "rings":
            d = (length - 0.75 * r).abs() - 0.25 * r
        case _:
            d = length - r * (0.72 + 0.36 * torch.cos(5 * torch.atan2(dx, -dy)))
    return (0.5 - d).clamp(0, 1)


@functools.cache
def tiles(device: torch.device | str) -> Tensor:
    """[GROUNDS, TILE, TILE] in 0..1, in the order of `NAMES`, then `CROWDS`."""
    generator = torch.Generator().manual_seed(11)
    made = [_stuff(stuff, k, generator) for stuff in STUFFS for k in SCALES.values()]
    made += [_crowd(crowd, generator) for crowd in CROWDS]
    return torch.stack(made).clamp(0, 1).to(device)


def field(which: Tensor, start: Tensor, h: int, w: int) -> Tensor:
    """Tile `which` [N] from the point `start` [N,2] (0..1 of the tile, y then x), as [N,h,w]."""
    first = (start * TILE).long()
    y = (first[:, :1] + torch.arange(h, device=which.device)) % TILE
    x = (first[:, 1:] + torch.arange(w, device=which.device)) % TILE
    return tiles(which.device)[which[:, None, None], y[:, :, None], x[:, None, :]]
