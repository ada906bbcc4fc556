"""Writes test/nn/golden/*.json: what PyTorch computes, in f64, for an LSTM, attention with masks, and the models of src/models, values and gradients.

    python test/oracle/nn.py test/nn/golden        with torch 2.13.0 and numpy
"""
import json
import sys

import torch
from torch import nn
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
out = sys.argv[1]


def values(*shape, seed, scale=1.0):
    g = torch.Generator().manual_seed(seed)
    # Rounded, so that the file is short and exact.
    return ((torch.rand(*shape, generator=g) * 2 - 1) * scale).mul(1024).round().div(1024)


def numbers(t):
    return [float(f'{x:.12g}') for x in t.detach().reshape(-1).tolist()]


def write(name, given, results):
    with open(f'{out}/{name}.json', 'w') as f:
        tensors = {k: {'shape': list(v.shape), 'data': numbers(v)} for k, v in given.items()}
        json.dump({'given': tensors, 'results': {k: numbers(v) for k, v in results.items()}}, f, separators=(',', ':'))
        f.write('\n')


def lstm():
    batch, time, inputs, hidden = 3, 4, 2, 3
    x = values(batch, time, inputs, seed=1).requires_grad_()
    net = nn.LSTM(inputs, hidden, batch_first=True)
    given = {'x': x}
    with torch.no_grad():
        for i, (name, p) in enumerate(net.named_parameters()):
            p.copy_(values(*p.shape, seed=10 + i))
    h0, c0 = values(1, batch, hidden, seed=2).requires_grad_(), values(1, batch, hidden, seed=3).requires_grad_()
    y, (h, c) = net(x, (h0, c0))
    weights = values(*y.shape, seed=4)
    ((y * weights).sum() + (c * 0.5).sum()).backward()
    # [4·hidden, in] → in, gate, hidden.
    turned = lambda w: w.reshape(4, hidden, -1).permute(2, 0, 1)
    given |= {'h0': h0[0], 'c0': c0[0], 'weights': weights, 'input': turned(net.weight_ih_l0), 'past': turned(net.weight_hh_l0),
              'bias': (net.bias_ih_l0 + net.bias_hh_l0).reshape(4, hidden)}
    back, _ = nn.LSTM.forward(net, x.flip(1), (h0, c0))
    write('lstm', given, {
        'output': y, 'hidden': h[0], 'cell': c[0], 'reversed': back.flip(1), 'dx': x.grad, 'dh0': h0.grad[0], 'dc0': c0.grad[0],
        'dinput': turned(net.weight_ih_l0.grad), 'dpast': turned(net.weight_hh_l0.grad), 'dbias': net.bias_ih_l0.grad.reshape(4, hidden)})


def attention():
    batch, seq, source, embed, heads = 2, 4, 3, 6, 2
    size = embed // heads
    x, memory = values(batch, seq, embed, seed=20).requires_grad_(), values(batch, source, embed, seed=21).requires_grad_()
    net = nn.MultiheadAttention(embed, heads, bias=False, batch_first=True)
    with torch.no_grad():
        net.in_proj_weight.copy_(values(3 * embed, embed, seed=22))
        net.out_proj.weight.copy_(values(embed, embed, seed=23))
    # [out, in] → embed, heads, headDim; the last one heads, headDim, embed.
    q, k, v = [w.T.reshape(embed, heads, size) for w in net.in_proj_weight.chunk(3)]
    o = net.out_proj.weight.T.reshape(heads, size, embed)
    weights = values(batch, seq, embed, seed=24)
    keep = torch.tensor([[1, 1, 0], [0, 1, 1]], dtype=torch.bool)
    cross, _ = net(x, memory, memory, key_padding_mask=~keep)
    (cross * weights).sum().backward()
    # What follows adds to the gradients of the weights.
    grads = {'dx': x.grad, 'dmemory': memory.grad, 'dout': net.out_proj.weight.grad.clone().T.reshape(heads, size, embed)}
    grads |= {f'd{n}': g.T.reshape(embed, heads, size) for n, g in zip(['query', 'key', 'value'], net.in_proj_weight.grad.clone().chunk(3))}
    segments, prefix = torch.tensor([[1, 1, 2, 2], [5, 5, 5, 5]]), torch.tensor([[1, 0, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    earlier = torch.tril(torch.ones(seq, seq, dtype=torch.bool))

    def own(seen):
        x.grad = None
        y, _ = net(x, x, x, attn_mask=~seen.repeat_interleave(heads, 0))
        (y * weights).sum().backward()
        return y.detach(), x.grad.clone()
    same = segments[:, :, None] == segments[:, None, :]
    seen = {'causal': earlier.expand(batch, -1, -1), 'all': torch.ones_like(same), 'prefix': earlier | prefix[:, None, :], 'segments': same & earlier, 'both': same & (earlier | prefix[:, None, :])}
    found = {name: own(s) for name, s in seen.items()}
    write('attention', {'x': x, 'memory': memory, 'query': q, 'key': k, 'value': v, 'out': o, 'weights': weights, 'keep': keep.double(), 'segments': segments.double(), 'prefix': prefix.double()},
          {'cross': cross, **grads, **{n: y for n, (y, _) in found.items()}, **{f'd{n}': g for n, (_, g) in found.items()}})


def conv_net():
    batch, height, width = 3, 8, 6
    images = torch.randint(0, 256, (batch, height, width, 1), generator=torch.Generator().manual_seed(30)).double()
    labels = torch.tensor([2, -100, 0])
    one, two = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 3, 3, padding=1)
    hidden, last = nn.Linear(3 * 2 * 1, 5), nn.Linear(5, 4)
    with torch.no_grad():
        for i, p in enumerate(p for m in (one, two, hidden, last) for p in m.parameters()):
            p.copy_(values(*p.shape, seed=31 + i))
    z = (images / 255).permute(0, 3, 1, 2)
    z = F.max_pool2d(F.relu(two(F.max_pool2d(F.relu(one(z)), 2))), 2)
    logits = last(F.relu(hidden(z.flatten(1))))
    loss = F.cross_entropy(logits, labels, ignore_index=-100)
    loss.backward()
    filters = lambda w: w.permute(2, 3, 1, 0)
    # [hidden, channels · rows · columns] → rows, columns, channels, hidden.
    flat = lambda w: w.reshape(5, 3, 2, 1).permute(2, 3, 1, 0)
    named = lambda of: {'filters.0.kernel': filters(of(one.weight)), 'filters.0.bias': of(one.bias), 'filters.1.kernel': filters(of(two.weight)), 'filters.1.bias': of(two.bias),
                        'hidden': flat(of(hidden.weight)), 'hiddenBias': of(hidden.bias), 'out': of(last.weight).T, 'outBias': of(last.bias)}
    write('conv-net', {'images': images, 'labels': labels.double(), **named(lambda p: p)}, {'logits': logits, 'loss': loss, **{f'd{k}': v for k, v in named(lambda p: p.grad).items()}})


def seq2seq():
    batch, vocab, source, target, embed, heads, hidden, encoders, decoders = 2, 7, 4, 3, 4, 2, 5, 2, 1
    size = embed // heads
    p = {}

    def add(name, *shape, seed, scale=0.7, around=0.0):
        p[name] = (values(*shape, seed=seed, scale=scale) + around).requires_grad_()
    add('tokens', vocab, embed, seed=50)
    add('positions.source', source, embed, seed=51)
    add('positions.target', target, embed, seed=52)
    seed = 60
    for side, layers, parts in (('encoder', encoders, ['self']), ('decoder', decoders, ['self', 'cross'])):
        for part in parts:
            add(f'{side}.{part}.norm', layers, embed, seed=seed, scale=0.3, around=1)
            for what in ('query', 'key', 'value', 'out'):
                seed += 1
                add(f'{side}.{part}.{what}', layers, embed, heads, size, seed=seed)
        add(f'{side}.feed.norm', layers, embed, seed=seed + 1, scale=0.3, around=1)
        add(f'{side}.feed.up', layers, embed, hidden, seed=seed + 2)
        add(f'{side}.feed.down', layers, hidden, embed, seed=seed + 3)
        add(f'{side}.norm', embed, seed=seed + 4, scale=0.3, around=1)
        seed += 10
    read = torch.tensor([[3, 5, 1, 2], [6, 2, 0, 0]])
    written, labels = torch.tensor([[1, 4, 2], [1, 3, 0]]), torch.tensor([[4, 2, 5], [3, 6, -100]])

    def norm(x, gain):
        return F.rms_norm(x, (embed,), gain, 1e-6)

    def attend(x, memory, name, layer, mask):
        w = {k: p[f'{name}.{k}'][layer] for k in ('query', 'key', 'value', 'out')}
        q, k, v = torch.einsum('bse,ehd->bhsd', x, w['query']), torch.einsum('bse,ehd->bhsd', memory, w['key']), torch.einsum('bse,ehd->bhsd', memory, w['value'])
        return torch.einsum('bhsd,ehd->bse', F.scaled_dot_product_attention(q, k, v, attn_mask=mask), w['out'])

    def fed(x, side, layer):
        return F.gelu(norm(x, p[f'{side}.feed.norm'][layer]) @ p[f'{side}.feed.up'][layer], approximate='tanh') @ p[f'{side}.feed.down'][layer]
    there = read != 0
    x = p['tokens'][read] + p['positions.source']
    for layer in range(encoders):
        n = norm(x, p['encoder.self.norm'][layer])
        x = x + attend(n, n, 'encoder.self', layer, (there[:, :, None] == there[:, None, :])[:, None])
        x = x + fed(x, 'encoder', layer)
    memory = norm(x, p['encoder.norm'])
    y = p['tokens'][written] + p['positions.target']
    for layer in range(decoders):
        n = norm(y, p['decoder.self.norm'][layer])
        y = y + attend(n, n, 'decoder.self', layer, torch.tril(torch.ones(target, target, dtype=torch.bool)))
        y = y + attend(norm(y, p['decoder.cross.norm'][layer]), memory, 'decoder.cross', layer, there[:, None, None, :])
        y = y + fed(y, 'decoder', layer)
    logits = norm(y, p['decoder.norm']) @ p['tokens'].T
    loss = F.cross_entropy(logits.reshape(-1, vocab), labels.reshape(-1), ignore_index=-100)
    loss.backward()
    write('seq2seq', {'source': read.double(), 'target': written.double(), 'labels': labels.double(), **p}, {'logits': logits, 'loss': loss, **{f'd{k}': v.grad for k, v in p.items()}})


def lstm_text():
    batch, vocab, seq, embed, layers = 2, 6, 4, 3, 2
    tokens, bias = values(vocab, embed, seed=90).requires_grad_(), values(vocab, seed=91).requires_grad_()
    nets = [nn.LSTM(embed, embed, batch_first=True) for _ in range(layers)]
    with torch.no_grad():
        for i, q in enumerate(q for m in nets for q in m.parameters()):
            # One of the two biases is all there is.
            q.copy_(values(*q.shape, seed=92 + i) * (0 if i % 4 == 3 else 1))
    read, wanted = torch.tensor([[1, 5, 2, 0], [3, 3, 4, 1]]), torch.tensor([[5, 2, 0, -100], [3, 4, 1, 2]])
    x = tokens[read]
    for net in nets:
        x = x + net(x)[0]
    logits = x @ tokens.T + bias
    loss = F.cross_entropy(logits.reshape(-1, vocab), wanted.reshape(-1), ignore_index=-100)
    loss.backward()
    turned = lambda w: w.reshape(4, embed, embed).permute(2, 0, 1)
    named = lambda of: {'tokens': of(tokens), 'bias': of(bias), 'layers.input': torch.stack([turned(of(m.weight_ih_l0)) for m in nets]),
                        'layers.past': torch.stack([turned(of(m.weight_hh_l0)) for m in nets]), 'layers.bias': torch.stack([of(m.bias_ih_l0).reshape(4, embed) for m in nets])}
    write('lstm-text', {'read': read.double(), 'wanted': wanted.double(), **named(lambda q: q)}, {'logits': logits, 'loss': loss, **{f'd{k}': v for k, v in named(lambda q: q.grad).items()}})


for judge in (lstm, attention, conv_net, seq2seq, lstm_text):
    judge()
