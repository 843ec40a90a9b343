"""Tokenizer: Qwen's byte-level BPE, trained on our captions, with the Qwen3 chat format around a prompt."""

from __future__ import annotations

import numpy as np
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from . import scenes

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = [PAD, START, END]
PLAIN_ADDED = ["<think>", "</think>"]  # added, yet not "special": decoding keeps them

CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}"
    "{{- '<think>\\n\\n</think>\\n\\n' }}"
    "{%- endif %}{%- endif %}"
)


def chat(prompt: str) -> str:
    """What CHAT_TEMPLATE gives for one user message with enable_thinking=False."""
    return f"{START}user\n{prompt}{END}\n{START}assistant\n<think>\n\n</think>\n\n"


def train_tokenizer(seed: int, vocab: int, count: int = 20000) -> tokenizers.Tokenizer:
    tok = tokenizers.Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tok.decoder = decoders.ByteLevel()
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    added = len(SPECIAL) + len(PLAIN_ADDED)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - added, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    corpus = scenes.captions(scenes.sample(count, seed), seed)
    tok.train_from_iterator(corpus + ["user\n", "assistant\n", "\n\n"] * count, trainer)
    tok.add_special_tokens(SPECIAL)
    tok.add_tokens([AddedToken(t, normalized=False, special=False) for t in PLAIN_ADDED])
    return tok


def encode(tok: tokenizers.Tokenizer, prompts: list[str], total: int) -> tuple[np.ndarray, np.ndarray]:
    """Chat-formatted ids [N,total], right-padded, and true lengths [N]."""
    pad = tok.token_to_id(PAD)
    ids = np.full((len(prompts), total), pad, dtype=np.int64)
    lengths = np.zeros(len(prompts), dtype=np.int64)
    for i, e in enumerate(tok.encode_batch([chat(p) for p in prompts])):
        row = e.ids[:total]
        ids[i, : len(row)] = row
        lengths[i] = len(row)
    return ids, lengths
