"""Stage 1: the autoencoder, on freshly drawn scenes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import scenes
from .nets import ResnetBlock, Vae, patchify
from .optim import Optimiser, Step, learning_rate
from .progress import Progress


def draw(count: int, seed: int, h: int, w: int, device, held_out: bool = False) -> Tensor:
    return scenes.render(scenes.sample(count, seed, held_out).tensors(device), h, w)


def train_vae(
    vae: Vae, steps: int, device, seed: int, lr: float, log, seconds: float | None = None, small: bool = False
) -> None:
    """L1 + L2 + edge loss with a light KL. Small pictures first, then the sizes the model will draw, since the
    group norms (32 groups, so single channels at the widest layer) see whole-picture statistics."""
    cuda = torch.device(device).type == "cuda"
    early, late = [(128, 128, 16)], [(256, 256, 8), (128, 128, 16), (192, 320, 8), (256, 256, 8), (320, 192, 8)]
    if small:
        early, late = [(64, 64, 4)], [(64, 96, 4)]
    prepare(vae)
    optimiser = Optimiser([vae], decay=0.995)
    pool = scenes.sample(2000 if small else 40000, seed).tensors(device)
    progress = Progress("vae", steps, log)
    progress.stage_deadline = None if seconds is None else progress.start + seconds

    def make_step(h: int, w: int, batch: int) -> Step:
        def run() -> tuple[Tensor, ...]:
            pick = torch.randint(len(pool["count"]), (batch,), device=device)
            image = scenes.render({k: v[pick] for k, v in pool.items()}, h, w)
            loss, l2, kl = vae_loss(vae, image, cuda)
            loss.backward()
            return loss.detach(), l2.detach(), kl.detach(), optimiser.step()

        return Step(run, cuda)

    made: dict[tuple[int, int, int], Step] = {}
    for step in range(steps):
        done = progress.fraction(step)
        rate = learning_rate(done, lr)
        optimiser.rate.fill_(rate)
        choices = early if done < 0.55 else late
        size = choices[step % len(choices)]
        if size not in made:
            made[size] = make_step(*size)
        loss, l2, kl, norm = made[size]()
        if step % (10 if small else 200) == 0 or step == steps - 1:
            psnr = 10 * math.log10(4 / l2.item())
            progress.report(step, loss=loss.item(), psnr=psnr, kl=kl.item(), norm=norm.item(), lr=rate)
        if progress.expired():
            break
    optimiser.finish()
    fit_statistics(vae, device, seed, 2 if small else 24)


def vae_loss(vae: Vae, image: Tensor, cuda: bool, kl_weight: float = 3e-4) -> tuple[Tensor, Tensor, Tensor]:
    with torch.autocast(image.device.type, torch.bfloat16, enabled=cuda, cache_enabled=False):
        mean, logvar = vae.moments(image)
        mean, logvar = mean.float(), logvar.float()
        z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        error = vae.decode_raw(z).float() - image
    l2 = error.pow(2).mean()
    tint = error - error.mean(1, keepdim=True)
    edge = (error[..., 1:, :] - error[..., :-1, :]).abs().mean() + (error[..., 1:] - error[..., :-1]).abs().mean()
    kl = 0.5 * (mean.pow(2) + logvar.exp() - 1 - logvar).mean()
    return error.abs().mean() + 2 * tint.abs().mean() + 4 * l2 + 0.5 * edge + kl_weight * kl, l2, kl


@torch.no_grad()
def prepare(vae: Vae) -> None:
    """Starting weights. Brightness carries most of a picture's variance, and after a group norm the tint would
    drown in it, so both ends start in a colour space that evens them out; residual branches start small."""
    for m in vae.modules():
        if isinstance(m, torch.nn.Conv2d):
            torch.nn.init.normal_(m.weight, std=(m.in_channels * m.kernel_size[0] ** 2) ** -0.5)
            torch.nn.init.zeros_(m.bias)
    for m in vae.modules():
        if isinstance(m, ResnetBlock):
            m.conv2.weight.mul_(0.2)
    third = torch.full((3, 3), 1 / 3)
    even = (third + 3.0 * (torch.eye(3) - third)).to(vae.encoder.conv_in.weight.device)
    weight = vae.encoder.conv_in.weight
    weight.copy_(torch.einsum("oihw,ij->ojhw", weight, even))
    vae.decoder.conv_out.weight.mul_(0.3)
    vae.quant_conv.weight[len(vae.quant_conv.weight) // 2 :].mul_(0.1)
    vae.quant_conv.bias[len(vae.quant_conv.bias) // 2 :].fill_(-4.0)


@torch.no_grad()
def fit_statistics(vae: Vae, device, seed: int, batches: int) -> None:
    """The 128-channel latent's mean and variance, which the batch norm of the VAE carries (no weights)."""
    h, w, n = (256, 256, 32) if batches > 2 else (64, 64, 4)
    rows = []
    for i in range(batches):
        z = patchify(vae.moments(draw(n, seed * 77 + i, h, w, device))[0].float())
        rows.append(z.transpose(0, 1).flatten(1))
    data = torch.cat(rows, dim=1)
    vae.bn.running_mean.copy_(data.mean(1))
    vae.bn.running_var.copy_(data.var(1))


@torch.no_grad()
def reconstruction_psnr(vae: Vae, device, count: int = 64, size: int = 256, seed: int = 999) -> float:
    """Mean over held-out scenes of the PSNR of decode(encode(picture)), in dB."""
    total = 0.0
    for start in range(0, count, 8):
        image = draw(8, seed + start, size, size, device, held_out=True)
        out = vae.decode(vae.encode(image)).clamp(-1, 1)
        total += (10 * torch.log10(4 / (out - image).pow(2).mean(dim=(1, 2, 3)))).sum().item()
    return total / count
