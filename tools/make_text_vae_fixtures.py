"""Makes the fixtures of the tokenizer, the Qwen3 encoder, the FLUX.2 VAE and the sampling tests.

    python tools/make_text_vae_fixtures.py [tokenizer] [schedule] [qwen3] [vae]

Needs torch, tokenizers, transformers and diffusers; the tests need none of them. Everything is seeded, so a
second run writes the same files (bit for bit on the same library versions).
"""

import json
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
FIXTURES = pathlib.Path(__file__).parents[1] / "tests" / "fixtures"


def tokenizer_fixtures():
    from text_vae_fixtures import tokenizers_made, tokenizer_texts

    folder = FIXTURES / "tokenizer"
    folder.mkdir(parents=True, exist_ok=True)
    texts = tokenizer_texts.all_texts(random.Random(7))
    corpus = tokenizer_texts.training_corpus()
    makers = {
        "qwen": tokenizers_made.qwen_style,
        "gpt2": tokenizers_made.gpt2_style,
        "llama3": tokenizers_made.llama3_style,
        "unknown": tokenizers_made.small_alphabet,
    }
    # One case: the text's bytes in hex when they are not UTF-8, else the text; ids by tokenizer.
    cases = [{"hex": t.hex()} if isinstance(t, bytes) else {"text": t} for t in texts]
    for name, make in makers.items():
        tokenizer = make(corpus)
        (folder / f"{name}.json").write_text(tokenizers_made.compact_json(tokenizer, pairs=name != "gpt2"))
        for case, text in zip(cases, texts):
            if isinstance(text, bytes):
                text = text.decode("utf-8", errors="replace")
            case[name] = tokenizer.encode(text).ids
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    (folder / "cases.json").write_text(f"[\n{lines}\n]\n")
    print(f"tokenizer: {len(cases)} texts")


def schedule_fixtures():
    from text_vae_fixtures import schedule

    folder = FIXTURES / "schedule"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sigmas.json").write_text(schedule.sigma_table())
    schedule.write_noise(folder / "noise.safetensors")
    print("schedule: done")


def qwen3_fixtures():
    from text_vae_fixtures import qwen3

    qwen3.write(FIXTURES / "qwen3", FIXTURES / "tokenizer" / "qwen.json")
    print("qwen3: done")


def vae_fixtures():
    from text_vae_fixtures import vae

    vae.write(FIXTURES / "vae")
    print("vae: done")


if __name__ == "__main__":
    everything = {
        "tokenizer": tokenizer_fixtures,
        "schedule": schedule_fixtures,
        "qwen3": qwen3_fixtures,
        "vae": vae_fixtures,
    }
    for part in sys.argv[1:] or everything:
        everything[part]()
