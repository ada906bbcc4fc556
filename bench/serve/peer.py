"""PyTorch's transformers as a peer of the section on serving: a request a line on stdin, an answer a line on stdout."""
import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM, DynamicCache

model = None


def threefry(key0, key1, counter0, counter1):
    """The first word of Threefry-2x32, as prompts.ts draws tokens by it."""
    mask = 0xFFFFFFFF
    keys = (key0, key1, key0 ^ key1 ^ 0x1BD11BDA)
    x0, x1 = (counter0 + key0) & mask, (counter1 + key1) & mask
    for group in range(5):
        for by in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            x0 = (x0 + x1) & mask
            x1 = ((x1 << by | x1 >> (32 - by)) & mask) ^ x0
        x0 = (x0 + keys[(group + 1) % 3]) & mask
        x1 = (x1 + keys[(group + 2) % 3] + group + 1) & mask
    return x0


def prompt(tokens, salt, stream=0):
    return [1000 + threefry(11, salt, stream, i) % 40000 for i in range(tokens)]


def open_model(model, streams, context, threads, dtype="float32", **_):
    torch.set_num_threads(threads)
    globals()["model"] = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
    return {"runtime": f"PyTorch {torch.__version__}"}


@torch.inference_mode()
def texts(prompts, tokens):
    """The likeliest tokens behind each prompt, all of one length, and when each was known."""
    cache, given, found, times = DynamicCache(), torch.tensor(prompts), [], []
    for _ in range(tokens):
        logits = model(input_ids=given, cache=cache, use_cache=True, logits_to_keep=1).logits
        given = logits[:, -1].argmax(-1, keepdim=True)
        found.append(given[:, 0].tolist())
        times.append(time.perf_counter())
    return found, times


def decode(streams, prompt, tokens, salt):
    used = time.process_time()
    _, times = texts([globals()["prompt"](prompt, salt, i) for i in range(streams)], tokens)
    return {"ms": (times[-1] - times[0]) * 1000, "tokens": (tokens - 1) * streams, "cpuMs": (time.process_time() - used) * 1000}


def prefill(tokens, salt):
    start, used = time.perf_counter(), time.process_time()
    _, times = texts([prompt(tokens, salt)], 1)
    return {"ms": (times[0] - start) * 1000, "cpuMs": (time.process_time() - used) * 1000}


def text(prompt, tokens):
    found, _ = texts([prompt], tokens)
    return {"tokens": [f[0] for f in found]}


for line in sys.stdin:
    request = json.loads(line)
    do = request.pop("do")
    print(json.dumps({"open": open_model, "decode": decode, "prefill": prefill, "text": text}[do](**request)), flush=True)
