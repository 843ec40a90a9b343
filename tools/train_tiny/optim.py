"""Optimiser, learning-rate schedule, weight average, and the capture of a training step as a CUDA graph."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor, nn


class Optimiser:
    """Muon for the matrices and convolutions inside the networks, AdamW for all else; clips gradients, and
    keeps an exponential average of the weights.

    Muon orthogonalises the momentum of every matrix, so that directions with small gradients (the tint of a
    picture, next to its brightness) learn as fast as the large ones: the autoencoder needs a tenth of the
    steps. Matrices of one shape are stacked and treated in one batched product. Its updates are scaled to
    AdamW's usual size, so that one learning rate serves both. The rate is a tensor, for CUDA graphs.
    """

    def __init__(self, modules: list[nn.Module], decay: float, momentum: float = 0.95, clip: float = 1.0):
        self.matrices: list[nn.Parameter] = []
        self.others: list[nn.Parameter] = []
        for module in modules:
            for name, p in module.named_parameters():
                inner = p.ndim >= 2 and not any(k in name for k in ("embed", "proj_out", "norm_out", "modulation"))
                (self.matrices if inner else self.others).append(p)
        self.params = [*self.matrices, *self.others]
        self.rate = torch.zeros((), device=self.params[0].device)
        self.count = torch.zeros((), device=self.params[0].device)
        self.momentum, self.clip, self.decay = momentum, clip, decay
        self.buffers = [torch.zeros_like(p) for p in self.matrices]
        self.first = [torch.zeros_like(p) for p in self.others]
        self.second = [torch.zeros_like(p) for p in self.others]
        # Adam's steps do not shrink where a row has more weights, so wider layers would move further.
        self.scales = [min(1.0, 256 / p.shape[1]) if p.ndim == 2 else 1.0 for p in self.others]
        self.average = [p.detach().clone() for p in self.params]

    @torch.no_grad()
    def step(self) -> Tensor:
        """Applies and clears the gradients; returns their norm before clipping."""
        for p in self.params:
            if p.grad is None:  # parts that only come along, such as the text encoder's last layer
                p.grad = torch.zeros_like(p)
        norm = nn.utils.clip_grad_norm_(self.params, self.clip)
        self.count += 1
        self._adam()
        self._muon()
        torch._foreach_lerp_(self.average, self.params, 1 - self.decay)
        for p in self.params:
            p.grad = None
        return norm

    def _adam(self, b1: float = 0.9, b2: float = 0.98, eps: float = 1e-8) -> None:
        grads = [p.grad for p in self.others]
        torch._foreach_lerp_(self.first, grads, 1 - b1)
        torch._foreach_mul_(self.second, b2)
        torch._foreach_addcmul_(self.second, grads, grads, 1 - b2)
        size = torch._foreach_div(self.second, 1 - b2**self.count)
        torch._foreach_sqrt_(size)
        torch._foreach_add_(size, eps)
        update = torch._foreach_div(self.first, size)
        torch._foreach_mul_(update, self.rate / (1 - b1**self.count))
        torch._foreach_mul_(update, self.scales)
        torch._foreach_sub_(self.others, update)

    def _muon(self, weight_decay: float = 0.01) -> None:
        if not self.matrices:
            return
        grads = [p.grad for p in self.matrices]
        torch._foreach_lerp_(self.buffers, grads, 1 - self.momentum)
        updates = [u.flatten(1) for u in torch._foreach_lerp(grads, self.buffers, self.momentum)]
        # Fused projections hold several square matrices; they are orthogonalised one by one.
        stacks: dict[tuple[int, int], list[tuple[int, Tensor]]] = defaultdict(list)
        for i, u in enumerate(updates):
            rows = u.shape[1] if u.shape[0] % u.shape[1] == 0 else u.shape[0]
            for start in range(0, u.shape[0], rows):
                stacks[rows, u.shape[1]].append((i, u[start : start + rows]))
        parts: list[list[Tensor]] = [[] for _ in updates]
        for (rows, columns), items in stacks.items():
            whole = _orthogonal(torch.stack([u for _, u in items])) * (0.2 * math.sqrt(max(rows, columns)))
            for (i, _), part in zip(items, whole.float().unbind()):
                parts[i].append(part)
        update = [torch.cat(part).reshape(p.shape) for part, p in zip(parts, self.matrices)]
        torch._foreach_add_(update, self.matrices, alpha=weight_decay)
        torch._foreach_mul_(update, self.rate)
        torch._foreach_sub_(self.matrices, update)

    @torch.no_grad()
    def finish(self) -> None:
        """Puts the averaged weights in place of the last ones."""
        for p, mean in zip(self.params, self.average):
            p.copy_(mean)


def _orthogonal(g: Tensor) -> Tensor:
    """Nearest semi-orthogonal matrices of a stack [n,r,c], by the quintic Newton-Schulz iteration."""
    x = g.bfloat16() if g.is_cuda else g
    flip = x.shape[1] > x.shape[2]
    x = x.mT if flip else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.mT if flip else x


def learning_rate(progress: float, peak: float, warmup: float = 0.02, floor: float = 0.01) -> float:
    """Linear warm-up, flat, then a long linear way down: the last stretch is where the sharpness comes from."""
    if progress < warmup:
        return peak * (progress + 1e-4) / warmup
    return peak * max(floor, min(1.0, (1 - progress) / 0.6))


class Step:
    """A training step that, on CUDA, is captured once and then replayed: these networks are so small that
    launching their kernels one by one takes several times longer than running them. The function must keep
    its shapes, draw its own random numbers and return tensors, which are overwritten by every replay."""

    _pool = None
    _stream = None  # one for all: memory of a pool is only reused on the stream it was taken on

    def __init__(self, function: Callable[[], tuple[Tensor, ...]], cuda: bool, warm: int = 2):
        self.function, self.cuda, self.warm, self.graph = function, cuda, warm, None

    def __call__(self) -> tuple[Tensor, ...]:
        if not self.cuda:
            return self.function()
        if self.graph is None:
            if Step._pool is None:
                Step._pool, Step._stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()
            Step._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(Step._stream):
                for _ in range(self.warm):
                    self.function()
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, pool=Step._pool, stream=Step._stream):
                self.result = self.function()
        self.graph.replay()
        return self.result
