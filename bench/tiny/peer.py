"""The peer: a GPT's training step as it is written in JAX, jitted and donated, one request a line on stdin, one answer a line on stdout."""
import functools
import json
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import nn


def norm(x, gain, bias):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * gain + bias


def block(x, p, seq, head_dim):
    h = norm(x, p['norm1.gain'], p['norm1.bias'])
    q, k, v = (jnp.einsum('bse,ehd->bhsd', h, p[name]) for name in ('query', 'key', 'value'))
    scores = jnp.einsum('bhsd,bhtd->bhst', q, k) / head_dim ** 0.5
    masked = jnp.where(jnp.tril(jnp.ones((seq, seq), bool)), scores, -1e9)
    x = x + jnp.einsum('bhst,bhtd,hde->bse', nn.softmax(masked), v, p['out'])
    h = norm(x, p['norm2.gain'], p['norm2.bias'])
    return x + nn.gelu(h @ p['up'] + p['upBias'], approximate=True) @ p['down'] + p['downBias']


def loss_of(params, tokens, targets, c):
    blocks = {name[len('blocks.'):]: w for name, w in params.items() if name.startswith('blocks.')}
    x = params['tokens'][tokens] + params['positions']
    # Two layers are unrolled, as who wants speed writes them.
    for i in range(c['layers']):
        x = block(x, {name: w[i] for name, w in blocks.items()}, c['seq'], c['headDim'])
    logits = norm(x, params['norm.gain'], params['norm.bias']) @ params['tokens'].T
    return -jnp.take_along_axis(nn.log_softmax(logits), targets[..., None], -1).mean()


def rate_of(step, o):
    done = jnp.clip((step - o['warmup']) / (o['steps'] - o['warmup']), 0, 1)
    share = o['floor'] + (1 - o['floor']) * 0.5 * (1 + jnp.cos(jnp.pi * done))
    return o['rate'] * jnp.where(step < o['warmup'], (step + 1) / o['warmup'], share)


def train_step(state, tokens, targets, c, o, loss_of=loss_of, placed=lambda grads: grads):
    """`placed` says where gradients lie, for who has several devices."""
    params, first, second, step = state
    loss, grads = jax.value_and_grad(loss_of)(params, tokens, targets, c)
    grads = placed(grads)
    size = jnp.sqrt(sum(jnp.sum(g * g) for g in grads.values()))
    grads = jax.tree.map(lambda g: g * jnp.minimum(1, o['clip'] / size), grads)
    rate, t = rate_of(step, o), step + 1.0
    first = jax.tree.map(lambda m, g: o['beta1'] * m + (1 - o['beta1']) * g, first, grads)
    second = jax.tree.map(lambda v, g: o['beta2'] * v + (1 - o['beta2']) * g * g, second, grads)

    def updated(name):
        p, m, v = params[name], first[name], second[name]
        d = m / (1 - o['beta1'] ** t) / (jnp.sqrt(v / (1 - o['beta2'] ** t)) + o['epsilon'])
        vector = name.endswith('gain') or name.endswith('ias')
        return p - rate * (d if vector else d + o['weightDecay'] * p)
    params = {name: updated(name) for name in params}
    return (params, first, second, step + 1), {'loss': loss, 'gradNorm': size, 'learningRate': rate}


class Peer:
    def open(self, task):
        folder, c = pathlib.Path(task['folder']), task['config']
        entries = json.loads((folder / 'weights.json').read_text())
        params = {e['name']: jnp.asarray(np.fromfile(folder / e['file'], e['dtype']).reshape(e['shape'])) for e in entries}
        zeros = lambda: jax.tree.map(jnp.zeros_like, params)
        self.state = (params, zeros(), zeros(), jnp.int32(0))
        self.batches = [np.fromfile(folder / f'batch.{i}', '<i4').reshape(2, task['batch'], c['seq']) for i in range(task['batches'])]
        self.at = 0
        self.run = jax.jit(functools.partial(train_step, c=c, o=task['optimizer']), donate_argnums=0)
        return {'runtime': f'JAX {jax.__version__}, jit'}

    def steps(self, count):
        ms, losses = [], []
        for _ in range(count):
            batch = self.batches[self.at % len(self.batches)]
            self.at += 1
            start = time.perf_counter()
            self.state, metrics = self.run(self.state, batch[0], batch[1])
            losses.append(float(metrics['loss']))
            ms.append((time.perf_counter() - start) * 1000)
        return {'ms': ms, 'losses': losses}

    def loop(self, count):
        losses, before = [], None
        start = time.perf_counter()
        for _ in range(count):
            batch = self.batches[self.at % len(self.batches)]
            self.at += 1
            self.state, metrics = self.run(self.state, batch[0], batch[1])
            if before is not None:
                losses.append(float(before['loss']))
            before = metrics
        losses.append(float(before['loss']))
        return {'ms': (time.perf_counter() - start) * 1000 / count, 'losses': losses}

    def close(self):
        return {'liveBuffers': 0}


def serve(peer):
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(getattr(peer, request.pop('do'))(**request)), flush=True)


if __name__ == '__main__':
    serve(Peer())
