"""The peer: PyTorch's attention, transformers' Llama with adapters as peft makes them, and plain copies; a request a line on stdin, an answer a line on stdout."""
import json
import os
import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def status(name):
    line = next(l for l in open('/proc/self/status') if l.startswith(name + ':'))
    return int(line.split()[1]) * 1024


def timed(work):
    start = time.perf_counter()
    result = work()
    return (time.perf_counter() - start) * 1000, result


def size(x):
    return x.abs().sum().item()


class Lora(nn.Module):
    """As peft's Linear: a frozen layer, and beside it two factors in f32 that are learned."""

    def __init__(self, base, down, scale):
        super().__init__()
        self.base, self.scale = base, scale
        self.down = nn.Parameter(down.clone())
        self.up = nn.Parameter(torch.zeros(base.out_features, down.shape[0]))

    def forward(self, x):
        return self.base(x) + F.linear(F.linear(x, self.down.to(x.dtype)), self.up.to(x.dtype)) * self.scale


def synced(path):
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


class Peer:
    def attention(self, folder, heads, seq, size):
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        read = lambda name: torch.from_numpy(np.fromfile(pathlib.Path(folder) / name, '<f4')).reshape(1, heads, seq, size)
        self.q, self.k, self.v, self.g = (read(n) for n in 'qkvg')
        self.wanted = [self.q, self.k, self.v]
        return {'runtime': f'PyTorch {torch.__version__}, {torch.get_num_threads()} threads'}

    def forward(self):
        with torch.no_grad():
            ms, found = timed(lambda: F.scaled_dot_product_attention(self.q, self.k, self.v, is_causal=True))
        return {'ms': ms, 'sums': [size(found)]}

    def both(self):
        def work():
            given = [t.detach().requires_grad_() for t in self.wanted]
            return torch.autograd.grad(F.scaled_dot_product_attention(*given, is_causal=True), given, self.g)
        ms, found = timed(work)
        return {'ms': ms, 'sums': [size(x) for x in found]}

    def lora(self, folder, data, compute, batch, seq, rank, on, batches):
        from transformers import LlamaForCausalLM
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        dtype = {'f32': torch.float32, 'bf16': torch.bfloat16}[compute]
        model = LlamaForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation='sdpa')
        model.requires_grad_(False)
        names = {'query': 'q_proj', 'value': 'v_proj'}
        data = pathlib.Path(data)
        for name in on:
            down = torch.from_numpy(np.fromfile(data / f'lora.blocks.{name}.down', '<f4')).reshape(model.config.num_hidden_layers, rank, -1)
            for layer, first in zip(model.model.layers, down):
                # α is twice the rank on both sides.
                setattr(layer.self_attn, names[name], Lora(getattr(layer.self_attn, names[name]), first, 2.0))
        self.model = model.train()
        self.moving = [p for p in model.parameters() if p.requires_grad]
        self.adamw = torch.optim.AdamW(self.moving, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, fused=True)
        ids = lambda name: torch.from_numpy(np.fromfile(data / name, '<i4')).reshape(batch, seq).long()
        self.batches, self.at = [(ids(f'tokens.{i}'), ids(f'targets.{i}')) for i in range(batches)], 0
        return {'runtime': f'PyTorch {torch.__version__}, {torch.get_num_threads()} threads'}

    def step(self):
        tokens, targets = self.batches[self.at % len(self.batches)]
        self.at += 1
        self.adamw.zero_grad(set_to_none=True)
        logits = self.model(input_ids=tokens, use_cache=False).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.moving, 1.0, foreach=True)
        self.adamw.step()
        return loss.item()

    def steps(self, count):
        done = [timed(self.step) for _ in range(count)]
        return {'ms': [ms for ms, _ in done], 'losses': [loss for _, loss in done]}

    def copy(self, source, to):
        """Reads and writes the bytes, and has them on the disk."""
        def work():
            os.mkdir(to)
            buffer = memoryview(bytearray(8 << 20))
            for path in sorted(pathlib.Path(source).iterdir()):
                with open(path, 'rb', 0) as read, open(pathlib.Path(to) / path.name, 'wb', 0) as written:
                    while count := read.readinto(buffer):
                        written.write(buffer[:count])
                    os.fsync(written.fileno())
            synced(to)
        return {'ms': timed(work)[0]}

    def safetensors(self, source, to):
        from safetensors.torch import load_file, save_file

        def work():
            os.mkdir(to)
            for path in sorted(pathlib.Path(source).glob('*.safetensors')):
                save_file(load_file(path), pathlib.Path(to) / path.name)
                synced(pathlib.Path(to) / path.name)
            synced(to)
        return {'ms': timed(work)[0]}

    def memory(self):
        return {'peakBytes': status('VmHWM'), 'bytes': status('VmRSS')}


peer = Peer()
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(getattr(peer, request.pop('do'))(**request)), flush=True)
