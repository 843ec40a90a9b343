"""Stage 3: the teacher's trajectories, and distillation to four steps."""

from __future__ import annotations

import dataclasses
import time

import torch
from torch import Tensor

from .flow_stage import FULL, Bank, TinyModel, empty_prompt, sample
from .nets import schedule
from .optim import Optimiser, Step, learning_rate
from .progress import Progress
from .size import Size


@dataclasses.dataclass
class Paths:
    """Teacher trajectories of one size: states at the four-step sigmas, and the prompts that made them."""

    h: int
    w: int
    states: Tensor  # [N, 5, h*w, 128] bf16
    ids: Tensor
    lengths: Tensor


@torch.no_grad()
def make_paths(
    model: TinyModel, tok, bank: Bank, count: int, batch: int, device, guidance: float, inner: int,
    total: int = FULL, seconds: float | None = None, fast: bool = False,
) -> Paths:  # fmt: skip
    """`count` trajectories, or as many whole batches, two at least, as the time allows."""
    empty = empty_prompt(tok, model.short, device)
    end = None if seconds is None else time.monotonic() + seconds
    states, all_ids, all_lengths = [], [], []
    for start in range(0, count, batch):
        x0, ids, lengths = bank.pick(batch)
        layout = "right" if (start // batch) % 2 else "left"
        path = sample(
            model, torch.randn_like(x0), ids, lengths, bank.h, bank.w, 4, layout, guidance, empty, inner, total,
            fast=fast,
        )  # fmt: skip
        states.append(torch.stack([s.bfloat16() for s in path], 1))
        all_ids.append(ids)
        all_lengths.append(lengths)
        if x0.is_cuda:
            torch.cuda.synchronize()
        if end is not None and len(states) >= 2 and time.monotonic() > end:
            break
    return Paths(bank.h, bank.w, torch.cat(states), torch.cat(all_ids), torch.cat(all_lengths))


def distil(
    size: Size, model: TinyModel, paths: list[Paths], steps: int, batch: int, device, lr: float, log,
    seconds: float | None = None,
) -> None:  # fmt: skip
    """Teaches the model to cross each of the four intervals in one step. Half of the batches start from the
    teacher's states, half from the student's own, aimed back at the teacher's next state: so errors of early
    steps are corrected and not carried on. Either text layout must reach the same picture. Before the last
    `size.full` of the run, only the first size and short texts, in batches of twice as many."""
    optimiser = Optimiser(model.trained(), decay=size.decay["distil"])
    progress = Progress("distil", steps, log)
    progress.stage_deadline = None if seconds is None else progress.start + seconds
    cuda = torch.device(device).type == "cuda"

    def make_step(p: Paths, layout: str, own: bool, total: int) -> Step:
        sigmas = torch.tensor(schedule(p.h * p.w, 4), device=device)
        short = total == model.short
        count = batch * 2 if short else batch if p is paths[0] else max(1, batch // 2)
        rows = torch.arange(count, device=device)

        def run() -> tuple[Tensor, ...]:
            i = torch.randint(len(p.states), (count,), device=device)
            path, ids, lengths = p.states[i].float(), p.ids[i], p.lengths[i]
            k = torch.randint(4, (count,), device=device)
            x = path[rows, k]
            if own:
                drawn = sample(
                    model, path[:, 0], ids, lengths, p.h, p.w, 4, layout, total=total, until=3, fast=short
                )
                x = torch.stack(drawn, 1)[rows, k]
            target = (path[rows, k + 1] - x) / (sigmas[k + 1] - sigmas[k])[:, None, None]
            with torch.autocast(x.device.type, torch.bfloat16, enabled=cuda, cache_enabled=False):
                context = model.embed(ids, lengths, layout, total, p is paths[0])
                v = model.velocity(x, context, sigmas[k], p.h, p.w, layout, p is paths[0])
            error = (v.float() - target).pow(2).mean(dim=(1, 2))
            # Short intervals move the state less, so their velocity errors count for less, yet not for nothing.
            loss = (error * (sigmas[k] - sigmas[k + 1]).sqrt()).mean()
            loss.backward()
            last = (k == 3).float()
            end = (error * last).sum() / last.sum().clamp(min=1) * sigmas[3] ** 2
            return loss.detach(), end.detach(), optimiser.step()

        return Step(run, cuda and size.graphs)

    made: dict[tuple, Step] = {}
    for step in range(steps):
        done = progress.fraction(step)
        rate = learning_rate(done, lr)
        optimiser.rate.fill_(rate)
        full = done >= 1 - size.full["distil"]
        other = full and len(paths) > 1 and step % 16 >= 12
        p = paths[1 + (step // 16) % (len(paths) - 1)] if other else paths[0]
        key = (p.h, p.w, "right" if step % 2 else "left", step % 4 >= 2, FULL if full else model.short)
        if key not in made:
            made[key] = make_step(p, *key[2:])
        loss, end, norm = made[key]()
        if step % (size.every // 2) in (0, 2) or step == steps - 1:
            progress.report(step, own=float(key[3]), loss=loss.item(), end=end.item(), norm=norm.item(), lr=rate)
        if progress.expired():
            break
    optimiser.finish()
