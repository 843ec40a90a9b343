"""Stage 2: rectified flow, with the text encoder trained along or as it is; and sampling."""

from __future__ import annotations

import dataclasses

import tokenizers
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import scenes, text
from .nets import Flux2, Qwen3, TinyConfig, Vae, compile_block, left_layout, position_ids, rope_table, schedule
from .optim import Optimiser, Step, learning_rate
from .progress import Progress
from .size import Size

FULL = 512  # tokens the pipelines pad to
PHRASINGS = 3  # captions per scene


@dataclasses.dataclass
class Bank:
    """Encoded scenes of one size, kept on the device."""

    h: int  # latent rows
    w: int
    latents: Tensor  # [N, h*w, 128] bf16
    ids: Tensor  # [N, PHRASINGS, text rows]
    lengths: Tensor  # [N, PHRASINGS]

    def pick(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        i = torch.randint(len(self.latents), (count,), device=self.latents.device)
        j = torch.randint(PHRASINGS, (count,), device=self.latents.device)
        return self.latents[i].float(), self.ids[i, j].long(), self.lengths[i, j].long()


@torch.no_grad()
def make_bank(size: Size, vae: Vae, tok, count: int, h: int, w: int, seed: int, device) -> Bank:
    drawn = scenes.sample(count, seed, rich=size.rich)
    pool = drawn.tensors(device)
    cuda = torch.device(device).type == "cuda"
    batch = min(count, 128)
    which = torch.arange(batch, device=device)

    def run() -> tuple[Tensor, ...]:
        image = scenes.render({k: v[which] for k, v in pool.items()}, h, w)
        with torch.autocast(image.device.type, torch.bfloat16, enabled=cuda, cache_enabled=False):
            latent = vae.encode(image)
        return (latent.flatten(2).transpose(1, 2).bfloat16(),)

    step, rows = Step(run, cuda and size.graphs), []
    for start in range(0, count, batch):
        which.copy_(torch.arange(start, start + batch, device=device).clamp(max=count - 1))
        rows.append(step()[0].clone())
    rows_of_text = size.config.text_rows
    encoded = [text.encode(tok, scenes.captions(drawn, seed * 10 + k), rows_of_text) for k in range(PHRASINGS)]
    ids = torch.stack([torch.from_numpy(i) for i, _ in encoded], 1).short().to(device)
    lengths = torch.stack([torch.from_numpy(n) for _, n in encoded], 1).short().to(device)
    return Bank(h // 16, w // 16, torch.cat(rows)[:count], ids, lengths)


class TinyModel(nn.Module):
    """Text encoder (not trained where the model is based on another) and transformer, with the two ways pipelines
    lay out the text.

    "right": diffusers. The prompt is padded to `total` on the right and the padded rows, which see the
    prompt, stay in. "left": ComfyUI. The prompt alone is encoded and its rows stand at the right end of
    `total`, after zeros. As the encoder is causal, both start from the same right-padded run.
    """

    def __init__(self, config: TinyConfig, pad: int, frozen_text: bool = False):
        super().__init__()
        self.text, self.flux, self.pad = Qwen3(config), Flux2(config), pad
        self.short, self.frozen_text = config.text_rows, frozen_text
        self.text.requires_grad_(not frozen_text)
        self._ropes: dict[tuple, tuple[Tensor, Tensor]] = {}

    def embed(self, ids: Tensor, lengths: Tensor, layout: str, total: int, fast: bool = False) -> Tensor:
        if layout == "left":
            return left_layout(self.text(ids, None, fast), lengths, total)
        ids = F.pad(ids, (0, total - ids.shape[1]), value=self.pad)
        mask = torch.arange(total, device=ids.device)[None] < lengths[:, None]
        return self.text(ids, mask, fast)

    def rope(self, total: int, h: int, w: int, layout: str, device) -> tuple[Tensor, Tensor]:
        key = (total, h, w, layout)
        if key not in self._ropes:
            start = FULL - total if layout == "left" else 0
            self._ropes[key] = rope_table(position_ids(total, h, w, device, start))
        return self._ropes[key]

    def velocity(
        self, x: Tensor, context: Tensor, t: Tensor, h: int, w: int, layout: str, fast: bool = False
    ) -> Tensor:
        cos, sin = self.rope(context.shape[1], h, w, layout, x.device)
        return self.flux(x, context, t, cos, sin, fast)

    def compile_blocks(self) -> None:
        torch._dynamo.config.cache_size_limit = 64
        layers = [] if self.frozen_text else self.text.layers
        for block in [*layers, *self.flux.transformer_blocks, *self.flux.single_transformer_blocks]:
            compile_block(block)

    def trained(self) -> list[nn.Module]:
        return [self.flux] if self.frozen_text else [self]


def shifted_times(count: int, device, shift: float = 3.5) -> Tensor:
    """Times biased to the noisy end, where FLUX.2's schedule spends its steps and the layout is decided."""
    u = torch.sigmoid(torch.randn(count, device=device))
    u = torch.where(torch.rand(count, device=device) < 0.15, torch.rand(count, device=device), u)
    return shift * u / (1 + (shift - 1) * u)


def empty_prompt(tok: tokenizers.Tokenizer, rows: int, device) -> tuple[Tensor, Tensor]:
    ids, lengths = text.encode(tok, [""], rows)
    return torch.from_numpy(ids).to(device), torch.from_numpy(lengths).to(device)


def train_flow(
    size: Size, model: TinyModel, tok, banks: list[Bank], steps: int, batch: int, device, lr: float, log,
    seconds: float | None = None,
) -> None:  # fmt: skip
    """The last `size.full` of the run uses the pipelines' full 512 text rows and all picture sizes; before
    that, as many rows as captions have and the first size do, at half the cost. Every other step has the other
    text layout."""
    optimiser = Optimiser(model.trained(), decay=size.decay["flow"])
    progress = Progress("flow", steps, log)
    progress.stage_deadline = None if seconds is None else progress.start + seconds
    cuda = torch.device(device).type == "cuda"
    empty_ids, empty_length = empty_prompt(tok, model.short, device)

    def make_step(bank: Bank, layout: str, total: int) -> Step:
        fast = bank is banks[0]
        # 512 text rows take twice the memory, and what is not compiled twice that again.
        count = max(1, batch if total == model.short else batch // 2 if fast else batch // 4)

        def run() -> tuple[Tensor, ...]:
            x0, ids, lengths = bank.pick(count)
            drop = torch.rand(count, device=device) < 0.1
            ids, lengths = torch.where(drop[:, None], empty_ids, ids), torch.where(drop, empty_length, lengths)
            t = shifted_times(count, device)
            noise = torch.randn_like(x0)
            x = x0 + t[:, None, None] * (noise - x0)
            with torch.autocast(x.device.type, torch.bfloat16, enabled=cuda, cache_enabled=False):
                context = model.embed(ids, lengths, layout, total, fast)
                v = model.velocity(x, context, t, bank.h, bank.w, layout, fast)
            loss = (v.float() - (noise - x0)).pow(2).mean()
            loss.backward()
            return loss.detach(), optimiser.step()

        return Step(run, cuda and size.graphs)

    made: dict[tuple, Step] = {}
    if not size.graphs:  # compilation is paid before the clock of the learning rate starts; these steps have rate 0
        for layout in ("left", "right"):
            make_step(banks[0], layout, model.short)()[0].item()
        print(f"flow     first steps and compilation {progress.restart():.0f} s", flush=True)
    total_loss, total_count = 0.0, 0
    for step in range(steps):
        done = progress.fraction(step)
        rate = learning_rate(done, lr)
        optimiser.rate.fill_(rate)
        full = done > 1 - size.full["flow"]
        # A fixed round: mostly the first size, the others in turn.
        other = full and len(banks) > 1 and step % 8 >= 6
        bank = banks[1 + (step // 8) % (len(banks) - 1)] if other else banks[0]
        key = (bank.h, bank.w, "right" if step % 2 else "left", FULL if full else model.short)
        if key not in made:
            made[key] = make_step(bank, *key[2:])
        loss, norm = made[key]()
        total_loss, total_count = total_loss + loss.clone(), total_count + 1
        if step % size.every == size.every - 1 or step == steps - 1 or step < 2:
            progress.report(step, loss=float(total_loss) / total_count, norm=norm.item(), lr=rate)
            total_loss, total_count = 0.0, 0
        if progress.expired():
            break
    optimiser.finish()


@torch.no_grad()
def sample(
    model: TinyModel, noise: Tensor, ids: Tensor, lengths: Tensor, h: int, w: int, steps: int,
    layout: str = "right", guidance: float = 1.0, empty: tuple[Tensor, Tensor] | None = None, inner: int = 1,
    total: int = FULL, until: int | None = None, fast: bool = False,
) -> list[Tensor]:  # fmt: skip
    """Euler on FLUX.2's own sigmas from noise [B,h*w,128]; `inner` splits every interval further. Returns the
    states at the sigmas, the last being the picture's latent, or those of the first `until` intervals."""
    device = noise.device
    cuda = device.type == "cuda"
    sigmas = schedule(h * w, steps)
    with torch.autocast(device.type, torch.bfloat16, enabled=cuda, cache_enabled=False):
        context = model.embed(ids, lengths, layout, total)
        if guidance != 1.0:
            assert empty is not None
            none = model.embed(*empty, layout, total).expand(len(noise), -1, -1)
        states, x = [noise], noise
        for a, b in list(zip(sigmas, sigmas[1:]))[:until]:
            for i in range(inner):
                s = a + (b - a) * i / inner
                t = torch.full((len(x),), s, device=device)
                v = model.velocity(x, context, t, h, w, layout, fast).float()
                if guidance != 1.0:
                    u = model.velocity(x, none, t, h, w, layout, fast).float()
                    v = u + guidance * (v - u)
                x = x + (b - a) / inner * v
            states.append(x)
    return states
