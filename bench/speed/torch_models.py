"""The peer in PyTorch, eager or by torch.compile, f32 or under bf16 autocast: the same models from the same weights. It speaks the lines of worker.ts."""
import contextlib
import json
import math
import os
import pathlib
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import gpt
import resident


class Weights(nn.Module):
    """Meshwork's weights by their names, layers stacked as they are there."""
    def __init__(self, weights):
        super().__init__()
        self.names = {name: name.replace('.', '__') for name in weights}
        for name, own in self.names.items():
            whole = weights[name]
            stacked = name.startswith('blocks.')
            setattr(self, own, nn.ParameterList([nn.Parameter(w.clone()) for w in whole]) if stacked else nn.Parameter(whole.clone()))

    def of(self, name, layer=None):
        own = getattr(self, self.names[name])
        return own if layer is None else own[layer]


class Llama(Weights):
    def __init__(self, weights, config, experts):
        super().__init__(weights)
        self.c, self.experts = config, experts
        half = config['headDim'] // 2
        angle = torch.arange(config['seq'])[:, None] * 10000.0 ** (-torch.arange(half) / half)
        self.register_buffer('cos', angle.cos())
        self.register_buffer('sin', angle.sin())

    def turned(self, x):
        a, b = x.chunk(2, -1)
        return torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin], -1)

    def attended(self, h, w):
        c, (batch, seq, _) = self.c, h.shape
        kv, group, dim = c['kvHeads'], c['heads'] // c['kvHeads'], c['headDim']
        q = F.linear(h, w('query').reshape(-1, c['embed'])).view(batch, seq, kv * group, dim).transpose(1, 2)
        k, v = (F.linear(h, w(name).reshape(-1, c['embed'])).view(batch, seq, kv, dim).transpose(1, 2) for name in ('key', 'value'))
        x = F.scaled_dot_product_attention(self.turned(q).to(v.dtype), self.turned(k).to(v.dtype), v, is_causal=True, enable_gqa=group > 1)
        return F.linear(x.transpose(1, 2).reshape(batch, seq, -1), w('out').reshape(c['embed'], -1))

    def routed(self, x, w):
        """GShard's dispatch by products with masks, first choices first: the same drops as Meshwork's."""
        b, s, _ = x.shape
        count, chosen = self.experts['count'], self.experts['chosen']
        slots = min(s, math.ceil(self.experts['capacity'] * chosen * s / count))
        gates, found = F.linear(x, w('router')).softmax(-1).topk(chosen)
        gates = gates / gates.sum(-1, keepdim=True)
        asked = F.one_hot(found, count).to(x.dtype).permute(0, 2, 1, 3)
        rank = (asked.reshape(b, chosen * s, count).cumsum(1) - 1).view(asked.shape)
        place = (rank * asked).sum(-1)
        taken = asked * (place < slots)[..., None]
        slot = F.one_hot(place.long().clamp(max=slots - 1), slots).to(x.dtype)
        send = torch.einsum('bkse,bksc->bsec', taken, slot)
        back = torch.einsum('bkse,bksc,bsk->bsec', taken, slot, gates)
        sent = torch.einsum('bsec,bsd->ebcd', send, x)
        inner = F.silu(torch.einsum('ebcd,ehd->ebch', sent, w('experts.gate'))) * torch.einsum('ebcd,ehd->ebch', sent, w('experts.up'))
        return torch.einsum('bsec,ebcd->bsd', back, torch.einsum('ebch,edh->ebcd', inner, w('experts.down')))

    def forward(self, tokens, targets):
        c = self.c
        x = F.embedding(tokens, self.of('tokens'))
        for layer in range(c['layers']):
            w = lambda name: self.of(f'blocks.{name}', layer)
            x = x + self.attended(F.rms_norm(x, (c['embed'],), w('norm1'), 1e-5), w)
            h = F.rms_norm(x, (c['embed'],), w('norm2'), 1e-5)
            x = x + (self.routed(h, w) if self.experts else F.linear(F.silu(F.linear(h, w('gate'))) * F.linear(h, w('up')), w('down')))
        logits = F.linear(F.rms_norm(x, (c['embed'],), self.of('norm'), 1e-5), self.of('tokens'))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Images(Weights):
    def __init__(self, weights, config, _):
        super().__init__(weights)
        self.c = config

    def forward(self, images, labels):
        x = images.permute(0, 3, 1, 2).float() / self.c['brightest']
        for i in range(len(self.c['features'])):
            x = F.conv2d(x, self.of(f'filters.{i}.kernel').permute(3, 2, 0, 1), self.of(f'filters.{i}.bias'), padding='same')
            x = F.max_pool2d(F.relu(x), 2)
        h = F.relu(x.permute(0, 2, 3, 1).flatten(1) @ self.of('hidden').flatten(0, 2) + self.of('hiddenBias'))
        return F.cross_entropy(h @ self.of('out') + self.of('outBias'), labels)


class Peer:
    def open(self, of, compute, optimizer, folder, batches, compiled, device='cpu'):
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        resident.bare()
        folder, c = pathlib.Path(folder), of['config']
        entries = json.loads((folder / 'weights.json').read_text())
        weights = {e['name']: torch.from_numpy(np.fromfile(folder / e['file'], e['dtype']).reshape(e['shape'])) for e in entries}
        if of['kind'] == 'gpt':
            model = gpt.GPT(c)
            gpt.load(model, weights)
        else:
            model = {'llama': Llama, 'images': Images}[of['kind']](weights, c, of.get('experts'))
        model = model.to(device)
        self.model, self.optimizer, self.at = model, optimizer, 0
        # What decays is what has two dims or more in a layer; a stacked gain has one.
        decayed = [p for p in model.parameters() if p.dim() >= 2]
        kept = [p for p in model.parameters() if p.dim() < 2]
        groups = [{'params': decayed, 'weight_decay': optimizer['weightDecay']}, {'params': kept, 'weight_decay': 0.0}]
        self.adamw = torch.optim.AdamW(groups, lr=optimizer['rate'], betas=(optimizer['beta1'], optimizer['beta2']), eps=optimizer['epsilon'], fused=True)
        self.schedule = gpt.schedule(self.adamw, optimizer)
        self.run = torch.compile(model) if compiled else model
        self.cast = (lambda: torch.autocast(device, torch.bfloat16)) if compute == 'bf16' else contextlib.nullcontext
        self.batches = [tuple(x.to(device) for x in self.read(folder, i, of)) for i in range(batches)]
        return {'runtime': f"PyTorch {torch.__version__} {'torch.compile' if compiled else 'eager'}, {torch.get_num_threads()} threads"}

    @staticmethod
    def read(folder, i, of):
        c = of['config']
        if of['kind'] == 'images':
            images = np.fromfile(folder / f'images.{i}', 'u1').reshape(of['batch'], c['height'], c['width'], c['channels'])
            return torch.from_numpy(images), torch.from_numpy(np.fromfile(folder / f'labels.{i}', '<i4')).long()
        tokens, targets = np.fromfile(folder / f'batch.{i}', '<i4').reshape(2, of['batch'], c['seq'])
        return torch.from_numpy(tokens).long(), torch.from_numpy(targets).long()

    def steps(self, count):
        ms, losses = [], []
        for _ in range(count):
            start = time.perf_counter()
            self.adamw.zero_grad(set_to_none=True)
            with self.cast():
                loss = self.run(*self.batches[self.at % len(self.batches)])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.optimizer['clip'], foreach=True)
            self.adamw.step()
            self.schedule.step()
            losses.append(loss.item())
            ms.append((time.perf_counter() - start) * 1000)
            self.at += 1
        return {'ms': ms, 'losses': losses}

    def forget(self):
        resident.forget()
        return {}

    def memory(self):
        return resident.memory()

    def roof(self, size, dtype='float32', device='cpu'):
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        made = {'dtype': getattr(torch, dtype), 'device': device}
        x, y, best = torch.full((size, size), 0.5, **made), torch.full((size, size), 0.25, **made), math.inf
        # A card is told of many before it is waited for.
        count, wait = (1, lambda: None) if device == 'cpu' else (20, torch.cuda.synchronize)
        for _ in range(5):
            start = time.perf_counter()
            for _ in range(count):
                x @ y
            wait()
            best = min(best, (time.perf_counter() - start) * 1000 / count)
        return {'ms': best}

    def close(self):
        del self.model, self.run, self.adamw, self.schedule
        return {}


peer = Peer()
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(getattr(peer, request.pop('do'))(**request)), flush=True)
