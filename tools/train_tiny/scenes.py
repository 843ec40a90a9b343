"""Procedural captioned pictures: one to three textured shapes on a background.

A scene is a row in a handful of arrays, so that a whole batch is drawn at once on the GPU and data never
holds up training. What the caption says (shape, colours, texture, size, place, background) is fixed by
integer attributes; what it leaves open (exact place, exact size, turn, shade) is the `jitter`, and that is
what different seeds of the trained model vary.

The mini model's scenes are `rich`: half of the grounds and shapes are of a material (`materials.py`), which texture
and background numbers past the lists here name, and light falls on the picture from a side.
"""

from __future__ import annotations

import dataclasses
import functools
import random

import numpy as np
import torch

from . import materials

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.10, 0.12),
    "orange": (0.96, 0.52, 0.08),
    "yellow": (0.97, 0.87, 0.15),
    "green": (0.13, 0.62, 0.22),
    "cyan": (0.15, 0.80, 0.84),
    "blue": (0.12, 0.28, 0.86),
    "purple": (0.50, 0.16, 0.70),
    "pink": (0.97, 0.50, 0.72),
    "brown": (0.46, 0.27, 0.12),
    "white": (0.97, 0.97, 0.97),
    "gray": (0.52, 0.52, 0.54),
    "black": (0.05, 0.05, 0.06),
}
COLOUR_NAMES = list(COLOURS)
_CHROMATIC = COLOUR_NAMES[:9]


def _background_palette() -> dict[str, tuple[float, float, float]]:
    """Neutral, pale and dark colours, so that a pure-coloured shape always stands out."""
    palette = {name: COLOURS[name] for name in ("white", "gray", "black")}
    for name in _CHROMATIC:
        rgb = np.array(COLOURS[name])
        palette[f"pale {name}"] = tuple(0.30 * rgb + 0.68)
        palette[f"dark {name}"] = tuple(0.38 * rgb + 0.02)
    return palette


BACKGROUND_COLOURS = _background_palette()
BACKGROUND_NAMES = list(BACKGROUND_COLOURS)

KINDS = ["circle", "square", "triangle", "diamond", "ring", "star", "cross", "crescent"]
TEXTURES = ["solid", "stripes across", "stripes down", "checks", "dots", "fade"]
SIZES = {"small": 0.080, "medium": 0.120, "large": 0.168, "huge": 0.270}  # radius / shorter side
SIZE_NAMES = list(SIZES)
CELLS = [
    "top left", "top", "top right",
    "left", "center", "right",
    "bottom left", "bottom", "bottom right",
]  # fmt: skip
BACKGROUNDS = ["plain", "top to bottom", "left to right", "radial", "speckled", "tiled"]
MAX_SHAPES = 3

_RGB = np.array(list(COLOURS.values()), dtype=np.float32)
_BG_RGB = np.array(list(BACKGROUND_COLOURS.values()), dtype=np.float32)


@dataclasses.dataclass
class Scenes:
    """A batch of N scenes. [N] or [N, MAX_SHAPES] integers, plus the jitter as floats."""

    count: np.ndarray  # [N] 1..3
    kind: np.ndarray  # [N,3] into KINDS
    colour: np.ndarray  # [N,3] into COLOURS
    colour2: np.ndarray  # [N,3] into COLOURS, used by every texture but "solid"
    texture: np.ndarray  # [N,3] into TEXTURES
    size: np.ndarray  # [N,3] into SIZES
    cell: np.ndarray  # [N,3] into CELLS, distinct within a scene
    bg: np.ndarray  # [N] into BACKGROUNDS
    bg_a: np.ndarray  # [N] into BACKGROUND_COLOURS
    bg_b: np.ndarray  # [N] second colour of gradients and tiles
    jitter: np.ndarray  # [N,3,4] in -1..1: x, y, size, turn
    shade: np.ndarray  # [N,5,3] in -1..1: colour offsets of three shapes and two background colours
    place: np.ndarray | None = None  # rich scenes: [N,5,2] in 0..1: where materials start (shapes, ground); light

    def __len__(self) -> int:
        return len(self.count)

    def __getitem__(self, index) -> Scenes:
        return Scenes(**{name: array[index] for name, array in self._arrays().items()})

    def without_jitter(self) -> Scenes:
        place = self.place
        if place is not None:  # materials keep their place, which no caption fixes; the light is taken away
            place = place.copy()
            place[:, 4] = 0.5
        return dataclasses.replace(self, jitter=self.jitter * 0, shade=self.shade * 0, place=place)

    def tensors(self, device: torch.device | str) -> dict[str, torch.Tensor]:
        return {name: torch.as_tensor(array, device=device) for name, array in self._arrays().items()}

    def _arrays(self) -> dict[str, np.ndarray]:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: array for name, array in fields.items() if array is not None}


def is_held_out(kind: np.ndarray, colour: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """About one (shape, colour, texture) combination in eleven is never shown in training."""
    return (kind * 7 + colour * 5 + texture * 3) % 11 == 0


def sample(n: int, seed: int, held_out: bool = False, rich: bool = False) -> Scenes:
    """Draws n scenes. Training scenes hold no held-out combination; held-out scenes' first shape is one."""
    rng = np.random.default_rng(seed)
    m = MAX_SHAPES
    count = rng.choice([1, 2, 3], size=n, p=[0.30, 0.40, 0.30])
    bg = rng.choice(len(BACKGROUNDS), size=n, p=[0.28, 0.16, 0.14, 0.16, 0.14, 0.12])
    bg_a = rng.integers(len(BACKGROUND_NAMES), size=n)
    bg_b = rng.integers(len(BACKGROUND_NAMES), size=n)
    if rich:
        bg = np.where(rng.random(n) < 0.6, len(BACKGROUNDS) + rng.integers(materials.GROUNDS, size=n), bg)
    # Tiles and gradients need two colours that differ, though not so much that the shapes drown in them.
    for _ in range(200):
        gap = np.linalg.norm(_BG_RGB[bg_a] - _BG_RGB[bg_b], axis=-1)
        bad = (gap < 0.15) | ((bg >= 5) & (gap > 0.55))
        if not bad.any():
            break
        bg_b[bad] = rng.integers(len(BACKGROUND_NAMES), size=bad.sum())
    kind = rng.integers(len(KINDS), size=(n, m))
    texture = rng.choice(len(TEXTURES), size=(n, m), p=[0.35, 0.14, 0.14, 0.13, 0.13, 0.11])
    if rich:
        made = len(TEXTURES) + rng.integers(materials.SURFACES, size=(n, m))
        texture = np.where(rng.random((n, m)) < 0.45, made, texture)
    colour = rng.integers(len(COLOUR_NAMES), size=(n, m))
    colour2 = rng.integers(len(COLOUR_NAMES), size=(n, m))
    two_toned = np.isin(bg, [1, 2, 3]) | (bg >= 5)
    for _ in range(2000):
        rgb = _RGB[colour]
        hidden = np.linalg.norm(rgb - _BG_RGB[bg_a][:, None], axis=-1) < 0.30
        hidden |= two_toned[:, None] & (np.linalg.norm(rgb - _BG_RGB[bg_b][:, None], axis=-1) < 0.30)
        bad = hidden | (np.linalg.norm(rgb - _RGB[colour2], axis=-1) < 0.40)
        out = is_held_out(kind, colour, texture)
        if held_out:
            bad[:, 0] |= ~out[:, 0]
        else:
            bad |= out
        if not bad.any():
            break
        for array, size in ((kind, len(KINDS)), (colour, len(COLOUR_NAMES)), (colour2, len(COLOUR_NAMES))):
            array[bad] = rng.integers(size, size=bad.sum())
    size = rng.choice(3, size=(n, m), p=[0.25, 0.40, 0.35])
    size[(count == 1) & (rng.random(n) < 0.3), 0] = 3
    cell = np.argsort(rng.random((n, 9)), axis=1)[:, :m]
    return Scenes(
        count, kind, colour, colour2, texture, size, cell, bg, bg_a, bg_b,
        jitter=rng.uniform(-1, 1, size=(n, m, 4)).astype(np.float32),
        shade=rng.uniform(-1, 1, size=(n, 5, 3)).astype(np.float32),
        place=rng.random((n, 5, 2), dtype=np.float32) if rich else None,
    )  # fmt: skip


# --- captions -------------------------------------------------------------------------------------------

_PLACES = {
    "top left": ["in the top left", "in the top left corner", "at the upper left", "top left"],
    "top": ["at the top", "at the top center", "in the upper middle", "top"],
    "top right": ["in the top right", "in the top right corner", "at the upper right", "top right"],
    "left": ["on the left", "at the left side", "in the middle left", "left"],
    "center": ["in the center", "in the middle", "at the center", "center"],
    "right": ["on the right", "at the right side", "in the middle right", "right"],
    "bottom left": ["in the bottom left", "in the bottom left corner", "at the lower left", "bottom left"],
    "bottom": ["at the bottom", "at the bottom center", "in the lower middle", "bottom"],
    "bottom right": ["in the bottom right", "in the bottom right corner", "at the lower right", "bottom right"],
}


def _noun(s: Scenes, i: int, j: int, rng: random.Random) -> str:
    kind = KINDS[s.kind[i, j]]
    a, b = COLOUR_NAMES[s.colour[i, j]], COLOUR_NAMES[s.colour2[i, j]]
    size = SIZE_NAMES[s.size[i, j]]
    size = "" if size == "medium" and rng.random() < 0.75 else size + " "
    short = rng.random() < 0.5
    if s.texture[i, j] >= len(TEXTURES):
        material = materials.NAMES[s.texture[i, j] - len(TEXTURES)]
        return size + (f"{kind} of {material} {a} and {b}" if short else f"{material} {a} and {b} {kind}")
    match TEXTURES[s.texture[i, j]]:
        case "solid":
            body = f"{a} {kind}" if short else f"solid {a} {kind}"
        case "stripes across":
            body = f"{a} {kind} with horizontal {b} stripes" if short else f"horizontally striped {a} and {b} {kind}"
        case "stripes down":
            body = f"{a} {kind} with vertical {b} stripes" if short else f"vertically striped {a} and {b} {kind}"
        case "checks":
            body = f"{a} and {b} checkered {kind}" if short else f"checkered {a} and {b} {kind}"
        case "dots":
            body = f"{a} {kind} with {b} dots" if short else f"dotted {a} and {b} {kind}"
        case _:
            body = f"{a} {kind} fading to {b}" if short else f"{kind} fading from {a} to {b}"
    return size + body


def _ground(s: Scenes, i: int, rng: random.Random) -> str:
    a, b = BACKGROUND_NAMES[s.bg_a[i]], BACKGROUND_NAMES[s.bg_b[i]]
    made = s.bg[i] - len(BACKGROUNDS)
    if made >= materials.SURFACES:
        return f"a {a} background with many small {b} {materials.CROWDS[made - materials.SURFACES]}"
    if made >= 0:
        material = materials.NAMES[made]
        return rng.choice([f"a {material} {a} and {b} background", f"a background of {material} {a} and {b}"])
    match BACKGROUNDS[s.bg[i]]:
        case "plain":
            return rng.choice([f"a {a} background", f"a plain {a} background"])
        case "top to bottom":
            return rng.choice(
                [f"a gradient from {a} at the top to {b} at the bottom", f"a vertical gradient from {a} to {b}"]
            )
        case "left to right":
            return rng.choice(
                [f"a gradient from {a} on the left to {b} on the right", f"a horizontal gradient from {a} to {b}"]
            )
        case "radial":
            return rng.choice([f"a radial gradient from {a} to {b}", f"a radial gradient, {a} inside and {b} outside"])
        case "speckled":
            return rng.choice([f"a speckled {a} background", f"a rough {a} background"])
        case _:
            return rng.choice([f"a background of {a} and {b} tiles", f"a tiled {a} and {b} background"])


def caption(s: Scenes, i: int, rng: random.Random) -> str:
    """One of many phrasings of scene i. Later shapes lie on top, and are named later."""
    nouns = [_noun(s, i, j, rng) for j in range(s.count[i])]
    ground = _ground(s, i, rng)
    style = rng.randrange(5)
    if style == 3:  # tags
        places = [_PLACES[CELLS[s.cell[i, j]]][3] for j in range(s.count[i])]
        parts = [f"{noun} {place}" for noun, place in zip(nouns, places)]
        ground = ground.removeprefix("a ")
        text = ", ".join([ground, *parts] if rng.random() < 0.3 else [*parts, ground])
    else:
        places = [rng.choice(_PLACES[CELLS[s.cell[i, j]]][:3]) for j in range(s.count[i])]
        parts = [f"a {noun} {place}" for noun, place in zip(nouns, places)]
        joined = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
        if style == 0:
            text = f"{joined}, on {ground}"
        elif style == 1:
            text = rng.choice(["a picture of ", "an image of ", "draw ", "a drawing of "]) + f"{joined} on {ground}"
        elif style == 2:
            text = ". ".join(parts) + f". the background is {ground}"
        else:
            text = f"on {ground}, {joined}"
    text = text.replace("a orange", "an orange")
    if rng.random() < 0.5:
        text = text[0].upper() + text[1:]
        if rng.random() < 0.7:
            text += "."
    return text


def captions(s: Scenes, seed: int) -> list[str]:
    return [caption(s, i, random.Random(seed * 1_000_003 + i)) for i in range(len(s))]


# --- drawing --------------------------------------------------------------------------------------------


def _distance(kind: torch.Tensor, x: torch.Tensor, y: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """Signed distance in pixels (negative inside) of the wanted kind for each scene; y points up."""
    ax, ay = x.abs(), y.abs()
    length = torch.hypot(x, y)
    d = length - r  # circle
    d = torch.where(kind == 1, torch.maximum(ax, ay) - 0.86 * r, d)
    d = torch.where(kind == 2, torch.maximum(ax * 0.866 + (y + 0.12 * r) * 0.5, -(y + 0.12 * r)) - 0.58 * r, d)
    d = torch.where(kind == 3, (ax + ay) * 0.7071 - 0.76 * r, d)
    d = torch.where(kind == 4, (length - 0.77 * r).abs() - 0.23 * r, d)
    # Five-pointed star: fold the plane into one half of one arm, then the distance to its edge.
    k1x, k1y = 0.809016994375, -0.587785252292
    px, py = ax, y
    t = 2 * (px * k1x + py * k1y).clamp(min=0)
    px, py = px - t * k1x, py - t * k1y
    t = 2 * (py * k1y - px * k1x).clamp(min=0)
    px, py = px + t * k1x, py - t * k1y
    px, py = px.abs(), py - 1.08 * r
    bax, bay = 0.45 * 0.587785252292, 0.45 * 0.809016994375 - 1.0
    h = ((px * bax + py * bay) / (bax * bax + bay * bay)).clamp(min=0)
    h = torch.minimum(h, 1.08 * r)
    star = torch.hypot(px - bax * h, py - bay * h) * torch.sign(py * bax - px * bay)
    d = torch.where(kind == 5, star, d)
    arm = torch.minimum(torch.maximum(ax - r, ay - 0.32 * r), torch.maximum(ax - 0.32 * r, ay - r))
    d = torch.where(kind == 6, arm, d)
    bite = 0.80 * r - torch.hypot(x - 0.45 * r, y)
    return torch.where(kind == 7, torch.maximum(length - r, bite), d)


def _bands(u: torch.Tensor, period: float) -> torch.Tensor:
    """Anti-aliased 0/1 square wave with edges a pixel wide."""
    return (0.5 + ((u / period - torch.floor(u / period) - 0.5).abs() - 0.25) * period).clamp(0, 1)


def _pattern(texture: torch.Tensor, x: torch.Tensor, y: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """Share of the second colour at each pixel; anchored at the shape's centre, so the caption fixes it."""
    across, down = _bands(y, 14.0), _bands(x, 14.0)
    cx, cy = 2 * _bands(x - 5, 20.0) - 1, 2 * _bands(y - 5, 20.0) - 1
    lx, ly = x - 14 * torch.round(x / 14), y - 14 * torch.round(y / 14)
    p = torch.zeros_like(x)
    p = torch.where(texture == 1, across, p)
    p = torch.where(texture == 2, down, p)
    p = torch.where(texture == 3, 0.5 + 0.5 * cx * cy, p)
    p = torch.where(texture == 4, (4.2 + 0.5 - torch.hypot(lx, ly)).clamp(0, 1), p)
    return torch.where(texture == 5, (0.5 - 0.55 * y / r).clamp(0, 1), p)


@functools.cache
def _constant(name: str, device) -> torch.Tensor:
    """Tables on the device; made once, as a captured CUDA graph may not copy from the host."""
    table = {"rgb": _RGB, "background": _BG_RGB, "size": list(SIZES.values()), "place": [0.22, 0.50, 0.78]}[name]
    return torch.tensor(np.asarray(table, dtype=np.float32), device=device)


@functools.cache
def _speckle(h: int, w: int, device) -> torch.Tensor:
    """A fixed band-limited noise tile, repeated: rough to the eye, yet something a model can learn exactly."""
    g = torch.Generator().manual_seed(7)
    spectrum = torch.fft.rfft2(torch.randn(64, 64, generator=g))
    fy = torch.fft.fftfreq(64)[:, None]
    fx = torch.fft.rfftfreq(64)[None]
    f = torch.hypot(fy, fx)
    tile = torch.fft.irfft2(spectrum * torch.exp(-((f - 0.09) ** 2) / 0.0032), s=(64, 64))
    tile = (tile / tile.std()).clamp(-2.5, 2.5).to(device)
    return tile.repeat(-(-h // 64), -(-w // 64))[:h, :w]


def shape_geometry(s: dict[str, torch.Tensor], j: int, h: int, w: int) -> tuple[torch.Tensor, ...]:
    """Centre x, centre y, radius and turn of shape j of every scene, each [N,1,1], in pixels and radians."""
    m = min(h, w)
    cell = s["cell"][:, j]
    jit = s["jitter"][:, j]
    at = _constant("place", cell.device)
    cx = at[cell % 3] * w + jit[:, 0] * 0.022 * m
    cy = at[cell // 3] * h + jit[:, 1] * 0.022 * m
    r = _constant("size", cell.device)[s["size"][:, j]] * m * (1 + 0.07 * jit[:, 2])
    return tuple(v.float()[:, None, None] for v in (cx, cy, r, 0.16 * jit[:, 3]))


def shape_mask(s: dict[str, torch.Tensor], j: int, h: int, w: int, kind: torch.Tensor | None = None) -> torch.Tensor:
    """Coverage [N,h,w] of shape j, or of another kind standing in its place."""
    device = s["kind"].device
    cx, cy, r, turn = shape_geometry(s, j, h, w)
    py = torch.arange(h, device=device)[None, :, None] + 0.5 - cy
    px = torch.arange(w, device=device)[None, None, :] + 0.5 - cx
    x = px * torch.cos(turn) + py * torch.sin(turn)
    y = px * torch.sin(turn) - py * torch.cos(turn)
    kind = s["kind"][:, j] if kind is None else kind
    return (0.5 - _distance(kind[:, None, None], x, y, r)).clamp(0, 1)


def render(s: dict[str, torch.Tensor], h: int, w: int, kinds: torch.Tensor | None = None) -> torch.Tensor:
    """Draws scenes (from `Scenes.tensors`) as [N,3,h,w] in -1..1. `kinds` [N,3] overrides the shapes."""
    device = s["kind"].device
    n = len(s["kind"])
    rgb = _constant("rgb", device)
    bg_rgb = _constant("background", device)
    a = (bg_rgb[s["bg_a"]] + 0.02 * s["shade"][:, 3])[:, :, None, None]
    b = (bg_rgb[s["bg_b"]] + 0.02 * s["shade"][:, 4])[:, :, None, None]
    yy = ((torch.arange(h, device=device) + 0.5) / h)[None, :, None]
    xx = ((torch.arange(w, device=device) + 0.5) / w)[None, None, :]
    bg = s["bg"][:, None, None]
    t = torch.zeros(n, h, w, device=device)
    t = torch.where(bg == 1, yy, t)
    t = torch.where(bg == 2, xx, t)
    t = torch.where(bg == 3, (torch.hypot(xx - 0.5, yy - 0.5) / 0.62).clamp(max=1), t)
    ix, iy = torch.arange(w, device=device) // 32, torch.arange(h, device=device) // 32
    t = torch.where(bg == 5, ((ix[None, :] + iy[:, None]) % 2).float()[None], t)
    if "place" in s:
        made = s["bg"] - len(BACKGROUNDS)
        stuff = materials.field(made.clamp(min=0), s["place"][:, 3], h, w)
        t = torch.where(made[:, None, None] >= 0, stuff, t)
    image = a + (b - a) * t[:, None]
    rough = (s["bg"] == 4).float()[:, None, None, None]
    image = image + rough * 0.055 * _speckle(h, w, device)
    for j in range(MAX_SHAPES):
        alpha = shape_mask(s, j, h, w, None if kinds is None else kinds[:, j])
        alpha = alpha * (s["count"] > j)[:, None, None]
        cx, cy, r, _ = shape_geometry(s, j, h, w)
        x = torch.arange(w, device=device)[None, None, :] + 0.5 - cx
        y = cy - (torch.arange(h, device=device)[None, :, None] + 0.5)
        x, y = torch.broadcast_tensors(x, y)
        p = _pattern(s["texture"][:, j, None, None], x, y, r)[:, None]
        if "place" in s:
            made = (s["texture"][:, j] - len(TEXTURES))[:, None, None, None]
            stuff = materials.field(made.flatten().clamp(min=0), s["place"][:, j], h, w)[:, None]
            p = torch.where(made >= 0, stuff, p)
        shade = 0.03 * s["shade"][:, j]
        c1 = (rgb[s["colour"][:, j]] + shade)[:, :, None, None]
        c2 = (rgb[s["colour2"][:, j]] + shade)[:, :, None, None]
        image = image + alpha[:, None] * (c1 + (c2 - c1) * p - image)
    if "place" in s:
        side = (s["place"][:, 4] - 0.5)[:, :, None, None]
        image = image * (1 + 0.3 * (side[:, 0] * (xx - 0.5) + side[:, 1] * (yy - 0.5))[:, None])
    return image.clamp(0, 1) * 2 - 1
