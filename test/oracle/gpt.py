"""The same GPT as a person writes it in PyTorch, and the way between its weights and Meshwork's."""
import math

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.head_dim = c['heads'], c['headDim']
        width = self.heads * self.head_dim
        self.norm1 = nn.LayerNorm(c['embed'], eps=1e-5)
        self.qkv = nn.Linear(c['embed'], 3 * width, bias=False)
        self.out = nn.Linear(width, c['embed'], bias=False)
        self.norm2 = nn.LayerNorm(c['embed'], eps=1e-5)
        self.up = nn.Linear(c['embed'], c['hidden'])
        self.down = nn.Linear(c['hidden'], c['embed'])

    def forward(self, x):
        together = self.qkv(self.norm1(x))
        # Of what comes out: where sequences are split between layers, x has a part of each.
        batch, seq, _ = together.shape
        q, k, v = together.view(batch, seq, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, seq, -1))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate='tanh'))


class GPT(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.config = c
        self.tokens = nn.Embedding(c['vocab'], c['embed'])
        self.positions = nn.Parameter(torch.empty(c['seq'], c['embed']))
        self.blocks = nn.ModuleList(Block(c) for _ in range(c['layers']))
        self.norm = nn.LayerNorm(c['embed'], eps=1e-5)

    def forward(self, tokens, targets):
        x = self.tokens(tokens) + self.positions
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def load(model, weights):
    """Meshwork keeps layers stacked, weights as [in, out], and q, k, v apart."""
    c = model.config
    with torch.no_grad():
        model.tokens.weight.copy_(weights['tokens'])
        model.positions.copy_(weights['positions'])
        model.norm.weight.copy_(weights['norm.gain'])
        model.norm.bias.copy_(weights['norm.bias'])
        for i, b in enumerate(model.blocks):
            w = {name[len('blocks.'):]: x[i] for name, x in weights.items() if name.startswith('blocks.')}
            b.qkv.weight.copy_(torch.cat([w[n].reshape(c['embed'], -1).T for n in ('query', 'key', 'value')]))
            b.out.weight.copy_(w['out'].reshape(-1, c['embed']).T)
            b.up.weight.copy_(w['up'].T)
            b.up.bias.copy_(w['upBias'])
            b.down.weight.copy_(w['down'].T)
            b.down.bias.copy_(w['downBias'])
            for ours, norm in (('norm1', b.norm1), ('norm2', b.norm2)):
                norm.weight.copy_(w[f'{ours}.gain'])
                norm.bias.copy_(w[f'{ours}.bias'])


def unload(model, of):
    """The way back, for `of` each parameter: itself or its gradient. Names and shapes are Meshwork's."""
    c = model.config

    def block(b):
        q, k, v = (part.T.reshape(c['embed'], c['heads'], c['headDim']) for part in of(b.qkv.weight).chunk(3))
        return {
            'norm1.gain': of(b.norm1.weight), 'norm1.bias': of(b.norm1.bias), 'query': q, 'key': k, 'value': v,
            'out': of(b.out.weight).T.reshape(c['heads'], c['headDim'], c['embed']),
            'norm2.gain': of(b.norm2.weight), 'norm2.bias': of(b.norm2.bias),
            'up': of(b.up.weight).T, 'upBias': of(b.up.bias), 'down': of(b.down.weight).T, 'downBias': of(b.down.bias),
        }

    blocks = [block(b) for b in model.blocks]
    return {
        'tokens': of(model.tokens.weight), 'positions': of(model.positions),
        **{f'blocks.{name}': torch.stack([b[name] for b in blocks]) for name in blocks[0]},
        'norm.gain': of(model.norm.weight), 'norm.bias': of(model.norm.bias),
    }


def optimizer(model, o, fused):
    """AdamW; as is usual, matrices decay and vectors do not."""
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    kept = [p for p in model.parameters() if p.dim() < 2]
    groups = [{'params': decayed, 'weight_decay': o['weightDecay']}, {'params': kept, 'weight_decay': 0.0}]
    return torch.optim.AdamW(groups, lr=o['rate'], betas=(o['beta1'], o['beta2']), eps=o['epsilon'], fused=fused)


def schedule(adamw, o):
    """Linear warm-up to the rate, then a cosine down to a share of it, there at the last step."""
    def share(step):
        if step < o['warmup']:
            return (step + 1) / o['warmup']
        done = min(1.0, (step + 1 - o['warmup']) / (o['steps'] - o['warmup']))
        return o['floor'] + (1 - o['floor']) * 0.5 * (1 + math.cos(math.pi * done))
    return torch.optim.lr_scheduler.LambdaLR(adamw, share)
