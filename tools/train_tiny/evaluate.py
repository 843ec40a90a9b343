"""Does the model draw what the caption says? Held-out captions, checked against the renderer, and sheets to look at."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from . import scenes, text
from .flow_stage import TinyModel, empty_prompt, sample
from .nets import Vae

SEED = 4242  # of the held-out captions


@dataclasses.dataclass
class Agreement:
    """Shares of held-out captions (or of their shapes) that were drawn right.

    (*) A material may begin anywhere: a shape of one must have the mean colour within 0.25, a background of one the
    mean and the spread of every colour channel within 0.06."""

    pictures: float  # every shape, both colours of each, and the background
    shapes: float  # the described kind fits better than the seven others
    colours: float  # mean colours of the shape's two parts within 0.10 of the described ones (*)
    backgrounds: float  # mean error outside the shapes under 0.05 (*)
    count: int

    def text(self) -> str:
        return (
            f"{self.count} held-out captions: pictures wholly right {self.pictures:.1%}, shapes {self.shapes:.1%}, "
            f"colours {self.colours:.1%}, backgrounds {self.backgrounds:.1%}"
        )


@torch.no_grad()
def pictures(
    model: TinyModel, vae: Vae, tok, prompts: list[str], h: int, w: int, device, seed: int,
    steps: int = 4, layout: str = "right", guidance: float = 1.0, inner: int = 1, batch: int = 64,
) -> Tensor:  # fmt: skip
    """Draws each prompt as [N,3,h,w] in 0..1, from noise that depends only on the seed and the index."""
    empty = empty_prompt(tok, model.short, device)
    out = []
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        ids, lengths = (torch.from_numpy(a).to(device) for a in text.encode(tok, part, model.short))
        generator = torch.Generator().manual_seed(seed + start)
        noise = torch.randn(len(part), (h // 16) * (w // 16), 128, generator=generator).to(device)
        x = sample(model, noise, ids, lengths, h // 16, w // 16, steps, layout, guidance, empty, inner)[-1]
        latent = x.transpose(1, 2).unflatten(2, (h // 16, w // 16))
        for piece in latent.split(16):
            out.append((vae.decode(piece).clamp(-1, 1) + 1) / 2)
    return torch.cat(out)


def _shifts(reach: int, stride: int) -> list[tuple[int, int]]:
    steps = range(-reach, reach + 1, stride)
    return [(dy, dx) for dy in steps for dx in steps]


def _mean_and_spread(images: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """[N,3] each, over the pixels that `where` [N,h,w] holds."""
    weight = where[:, None] / where.sum((1, 2)).clamp(min=1)[:, None, None, None]
    mean = (images * weight).sum((2, 3))
    return mean, ((images - mean[:, :, None, None]).pow(2) * weight).sum((2, 3)).sqrt()


@torch.no_grad()
def agreement(images: Tensor, drawn: scenes.Scenes) -> Agreement:
    """Compares pictures [N,3,h,w] in 0..1 with what their captions determine. Place, size and shade are free
    within the training jitter, so each shape is matched over small shifts."""
    device, (h, w) = images.device, images.shape[-2:]
    s = drawn.without_jitter().tensors(device)
    n = len(drawn)
    count = s["count"]
    truth = (scenes.render(s, h, w) + 1) / 2
    masks = [scenes.shape_mask(s, j, h, w) * (count > j)[:, None, None] for j in range(scenes.MAX_SHAPES)]
    any_shape = torch.stack(masks).amax(0)
    near = F.max_pool2d(any_shape[:, None], 33, 1, 16)[:, 0] > 0
    ground_error = ((images - truth).abs().mean(1) * ~near).sum((1, 2)) / (~near).sum((1, 2)).clamp(min=1)
    (mean_a, spread_a), (mean_b, spread_b) = (_mean_and_spread(p, ~near) for p in (images, truth))
    stuff_error = torch.maximum((mean_a - mean_b).abs().amax(1), (spread_a - spread_b).abs().amax(1))
    made = s["bg"] >= len(scenes.BACKGROUNDS)  # where in its material a picture begins is free
    ground_right = torch.where(made, stuff_error < 0.06, ground_error < 0.05)
    shape_right = torch.ones(n, scenes.MAX_SHAPES, dtype=torch.bool, device=device)
    colour_right = shape_right.clone()
    rgb = torch.tensor(scenes._RGB, device=device)
    for j in range(scenes.MAX_SHAPES):
        window = (F.max_pool2d(masks[j][:, None], 17, 1, 8)[:, 0] > 0).float()
        best = torch.full((n, len(scenes.KINDS)), torch.inf, device=device)
        for kind in range(len(scenes.KINDS)):
            kinds = s["kind"].clone()
            kinds[:, j] = kind
            candidate = (scenes.render(s, h, w, kinds) + 1) / 2
            for dy, dx in _shifts(6, 3):
                moved = torch.roll(images, (dy, dx), (2, 3))
                error = ((moved - candidate).pow(2).mean(1) * window).sum((1, 2))
                best[:, kind] = torch.minimum(best[:, kind], error)
        shape_right[:, j] = (best.argmin(1) == s["kind"][:, j]) | (count <= j)
        # Visible inside, away from the edge; its pixels go to the nearer of the two colours, as they should be split.
        inside = masks[j].clone()
        for later in masks[j + 1 :]:
            inside = inside * (1 - later)
        core = -F.max_pool2d(-inside[:, None], 7, 1, 3)[:, 0]
        core = torch.where(core.sum((1, 2), keepdim=True) > 20, core, inside) > 0.99
        ok = torch.ones(n, dtype=torch.bool, device=device)
        a, b = rgb[s["colour"][:, j]], rgb[s["colour2"][:, j]]
        da = (images - a[:, :, None, None]).norm(dim=1)
        db = (images - b[:, :, None, None]).norm(dim=1)
        area = core.sum((1, 2)).clamp(min=1)
        solid, fade = s["texture"][:, j] == 0, s["texture"][:, j] == 5
        mean = (images * core[:, None]).sum((2, 3)) / area[:, None]
        target = (truth * core[:, None]).sum((2, 3)) / area[:, None]
        stuff = s["texture"][:, j] >= len(scenes.TEXTURES)
        ok &= (mean - target).norm(dim=1) < torch.where(stuff, 0.25, 0.10)
        share_a = ((da < 0.25) & core).sum((1, 2)) / area
        share_b = ((db < 0.25) & core).sum((1, 2)) / area
        want_a = (((truth - a[:, :, None, None]).norm(dim=1) < 0.25) & core).sum((1, 2)) / area
        want_b = (((truth - b[:, :, None, None]).norm(dim=1) < 0.25) & core).sum((1, 2)) / area
        two = ~solid & ~fade & ~stuff
        ok &= ~two | ((share_a > 0.5 * want_a) & (share_b > 0.5 * want_b))
        colour_right[:, j] = ok | (count <= j)
    whole = shape_right.all(1) & colour_right.all(1) & ground_right
    real = (torch.arange(scenes.MAX_SHAPES, device=device)[None] < count[:, None]).float()
    return Agreement(
        pictures=whole.float().mean().item(),
        shapes=((shape_right.float() * real).sum() / real.sum()).item(),
        colours=((colour_right.float() * real).sum() / real.sum()).item(),
        backgrounds=ground_right.float().mean().item(),
        count=n,
    )


def sheet(images: Tensor, columns: int, path: str, scale: float = 1.0) -> None:
    """Writes pictures [N,3,h,w] in 0..1 as one PNG."""
    if scale != 1.0:
        images = F.interpolate(images, scale_factor=scale, mode="area")
    array = (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    rows = [np.concatenate(list(array[i : i + columns]), 1) for i in range(0, len(array), columns)]
    Image.fromarray(np.concatenate(rows, 0)).save(path, optimize=True)


def held_out(count: int, seed: int, rich: bool = False) -> tuple[scenes.Scenes, list[str]]:
    drawn = scenes.sample(count, seed, held_out=True, rich=rich)
    return drawn, scenes.captions(drawn, seed)
