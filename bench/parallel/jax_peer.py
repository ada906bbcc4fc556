"""The peer on four devices of one process: the same step in JAX, split by the same rules. GSPMD splits what rules say; rings, all-to-alls and pipelines are written with shard_map.
It speaks the same lines as ../tiny/peer.py."""
import functools
import json
import math
import os
import pathlib

if 'xla_force_host_platform_device_count' not in os.environ.get('XLA_FLAGS', ''):
    os.environ['XLA_FLAGS'] = os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=4'

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

import jax_images
import peer

HEADS = ('embed', 'heads', 'headDim')
ROUTED = ('experts', 'expertHidden', 'embed')
BLOCK = {
    'norm1.gain': ('embed',), 'norm1.bias': ('embed',), 'query': HEADS, 'key': HEADS, 'value': HEADS, 'out': ('heads', 'headDim', 'embed'),
    'norm2.gain': ('embed',), 'norm2.bias': ('embed',), 'up': ('embed', 'hidden'), 'upBias': ('hidden',), 'down': ('hidden', 'embed'), 'downBias': ('embed',),
}
WITH_EXPERTS = {
    'norm1': ('embed',), 'norm2': ('embed',), 'query': ('heads', 'group', 'headDim', 'embed'), 'key': ('heads', 'headDim', 'embed'), 'value': ('heads', 'headDim', 'embed'),
    'out': ('embed', 'heads', 'group', 'headDim'), 'router': ('routes', 'embed'), 'experts.gate': ROUTED, 'experts.up': ROUTED, 'experts.down': ('experts', 'embed', 'expertHidden'),
}
MASKED = -1e9


def spec(dims, rules):
    axes = [tuple(r) if isinstance(r, list) else r for r in (rules.get(d) for d in dims)]
    return P(*(None if a == () else a for a in axes))


def dims_of(name, experts):
    if name.startswith('blocks.'):
        return ('layers', *(WITH_EXPERTS if experts else BLOCK)[name[len('blocks.'):]])
    return {'tokens': ('vocab', 'embed'), 'positions': ('seq', 'embed')}.get(name, ('embed',))


def part_scores(q, k, seen, scale):
    return jnp.where(seen, jnp.einsum('bqhd,bkhd->bhqk', q, k) * scale, MASKED)


def whole(q, k, v, places, keys):
    """Attention over all keys at once."""
    shares = nn.softmax(part_scores(q, k, places[:, None] >= keys[None], q.shape[-1] ** -0.5))
    return jnp.einsum('bhqk,bkhd->bqhd', shares, v)


def ring(q, k, v, places, axis, size):
    """Keys and values go round; the softmax is summed online (Liu et al. 2023)."""
    scale, onward = q.shape[-1] ** -0.5, [(i, (i + 1) % size) for i in range(size)]
    b, s, h, d = q.shape
    top, total, sums = jnp.full((b, h, s), MASKED), jnp.zeros((b, h, s)), jnp.zeros((b, h, s, d))
    keys = places
    for turn in range(size):
        scores = part_scores(q, k, places[:, None] >= keys[None], scale)
        above = jnp.maximum(top, scores.max(-1))
        shares, before = jnp.exp(scores - above[..., None]), jnp.exp(top - above)
        total = total * before + shares.sum(-1)
        sums = sums * before[..., None] + jnp.einsum('bhqk,bkhd->bhqd', shares, v)
        top = above
        if turn < size - 1:
            k, v, keys = (lax.ppermute(x, axis, onward) for x in (k, v, keys))
    return (sums / total[..., None]).transpose(0, 2, 1, 3)


def gathered(q, k, v, places, axis, size):
    k, v, keys = (lax.all_gather(x, axis, axis=a, tiled=True) for x, a in ((k, 1), (v, 1), (places, 0)))
    return whole(q, k, v, places, keys)


def ulysses(q, k, v, places, axis, size):
    q, k, v = (lax.all_to_all(x, axis, 2, 1, tiled=True) for x in (q, k, v))
    keys = lax.all_gather(places, axis, tiled=True)
    return lax.all_to_all(whole(q, k, v, keys, keys), axis, 1, 2, tiled=True)


FORMS = {'ring': ring, 'zigzag': ring, 'gather': gathered, 'ulysses': ulysses}


class Model:
    def __init__(self, form, c, experts, mesh):
        self.form, self.c, self.experts, self.mesh = form, c, experts, mesh
        self.given = (('batch', 'seq'), ('batch', 'seq'))
        self.layout = form['layout']
        self.residual = self.layout | {k: v for k, v in form.get('layouts', {}).get('residual', {}).items() if k != 'from'}
        # Places of a sequence in the order in which devices have them: device i has parts i and 2n − 1 − i of 2n.
        self.order = np.arange(c['seq'])
        if form.get('context', {}).get('form') == 'zigzag':
            n = 2 * form['context']['blocks']
            parts = self.order.reshape(n, -1)
            self.order = np.concatenate([parts[j] for i in range(n // 2) for j in (i, n - 1 - i)])

    def read(self, folder, i, batch):
        return np.fromfile(folder / f'batch.{i}', '<i4').reshape(2, batch, self.c['seq'])[..., self.order]

    def at(self, x, dims, rules=None):
        """x, laid as the rules say; inside of a pipeline every device has its own."""
        if 'pipeline' in self.form and 'vocab' not in dims:
            return x
        return lax.with_sharding_constraint(x, NamedSharding(self.mesh, spec(dims, rules or self.layout)))

    def stream(self, x):
        return self.at(x, ('batch', 'seq', 'embed'), self.residual)

    def attend(self, q, k, v):
        heads = ('batch', 'seq', 'heads', 'headDim')
        q, k, v = (self.at(x, heads) for x in (q, k, v))
        if 'context' not in self.form:
            places = jnp.arange(self.c['seq'])
            return whole(q, k, v, places, places)
        axis = self.layout['seq']
        own = functools.partial(FORMS[self.form['context']['form']], axis=axis, size=self.mesh.shape[axis])
        split = P(None, axis)
        return jax.shard_map(own, mesh=self.mesh, in_specs=(split, split, split, P(axis)), out_specs=split, check_vma=False)(q, k, v, jnp.asarray(self.order))

    def block(self, x, p):
        h = peer.norm(x, p['norm1.gain'], p['norm1.bias'])
        q, k, v = (jnp.einsum('bse,ehd->bshd', h, p[name]) for name in ('query', 'key', 'value'))
        x = self.stream(x + jnp.einsum('bshd,hde->bse', self.attend(q, k, v), p['out']))
        h = peer.norm(x, p['norm2.gain'], p['norm2.bias'])
        up = self.at(nn.gelu(h @ p['up'] + p['upBias'], approximate=True), ('batch', 'seq', 'hidden'))
        return self.stream(x + up @ p['down'] + p['downBias'])

    def turned(self, x):
        half = x.shape[-1] // 2
        angle = jnp.arange(self.c['seq'])[:, None] * 10000.0 ** (-jnp.arange(half) / half)
        cos, sin = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
        a, b = x[..., :half], x[..., half:]
        return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def routed(self, x, p):
        """GShard's dispatch by products with masks (Lepikhin et al. 2020), first choices first; the same drops as ours."""
        b, s, _ = x.shape
        count, chosen = self.experts['count'], self.experts['chosen']
        slots = min(s, math.ceil(self.experts['capacity'] * chosen * s / count))
        gates, found = lax.top_k(nn.softmax(x @ p['router'].T), chosen)
        gates = gates / gates.sum(-1, keepdims=True)
        asked = nn.one_hot(found, count).transpose(0, 2, 1, 3)
        rank = (jnp.cumsum(asked.reshape(b, chosen * s, count), 1) - 1).reshape(asked.shape)
        place = (rank * asked).sum(-1)
        taken = asked * (place < slots)[..., None]
        slot = nn.one_hot(place.astype(jnp.int32), slots)
        send = jnp.einsum('bkse,bksc->bsec', taken, slot)
        back = jnp.einsum('bkse,bksc,bsk->bsec', taken, slot, gates)
        # Tokens of all rows go to the experts' devices: GSPMD makes an all-to-all of it.
        rules = self.form['params']
        at = lambda y: self.at(y, ('experts', 'rows', 'slots', 'embed'), rules)
        sent = at(jnp.einsum('bsec,bsd->ebcd', send, x))
        inner = nn.silu(jnp.einsum('ebcd,ehd->ebch', sent, p['experts.gate'])) * jnp.einsum('ebcd,ehd->ebch', sent, p['experts.up'])
        return jnp.einsum('bsec,ebcd->bsd', back, at(jnp.einsum('ebch,edh->ebcd', inner, p['experts.down'])))

    def expert_block(self, x, p):
        rms = lambda y, gain: y * lax.rsqrt((y * y).mean(-1, keepdims=True) + 1e-5) * gain
        h = rms(x, p['norm1'])
        q = jnp.einsum('bse,hgde->bshgd', h, p['query']).reshape(*h.shape[:2], self.c['heads'], -1)
        k, v = (jnp.einsum('bse,hde->bshd', h, p[name]) for name in ('key', 'value'))
        out = p['out'].reshape(p['out'].shape[0], self.c['heads'], -1)
        x = self.stream(x + jnp.einsum('bshd,ehd->bse', self.attend(self.turned(q), self.turned(k), v), out))
        return self.stream(x + self.routed(rms(x, p['norm2']), p))

    def piped(self, x, blocks):
        """GPipe: a stage a device, a microbatch a tick to the next one."""
        stages, count = self.mesh.shape['stage'], self.form['pipeline']['microbatches']
        onward = [(i, i + 1) for i in range(stages - 1)]

        def run(blocks, parts):
            stage = lax.axis_index('stage')

            def layers(h):
                for i in range(self.c['layers'] // stages):
                    h = self.block(h, {name: w[i] for name, w in blocks.items()})
                return h

            def tick(h, t):
                y = layers(jnp.where(stage == 0, parts[jnp.minimum(t, count - 1)], h))
                return lax.ppermute(y, 'stage', onward), y
            _, ys = lax.scan(tick, jnp.zeros_like(parts[0]), jnp.arange(count + stages - 1))
            return lax.psum(jnp.where(stage == stages - 1, ys[stages - 1:], 0), 'stage')
        parts = x.reshape(count, -1, *x.shape[1:])
        found = jax.shard_map(run, mesh=self.mesh, in_specs=(P('stage'), P()), out_specs=P(), check_vma=False)(blocks, parts)
        return found.reshape(x.shape)

    def loss(self, params, tokens, targets, c):
        blocks = {name[len('blocks.'):]: w for name, w in params.items() if name.startswith('blocks.')}
        # Looked up in the whole width, as rows that GSPMD would otherwise find in parts and then move.
        x = (self.at(params['tokens'], ('vocab', 'embed')) if 'params' in self.form else params['tokens'])[tokens]
        if not self.experts:
            x = x + params['positions'][self.order]
        x = self.stream(x)
        if 'pipeline' in self.form:
            x = self.piped(x, blocks)
        else:
            # Layers are unrolled, as who wants speed writes them.
            for i in range(c['layers']):
                x = (self.expert_block if self.experts else self.block)(x, {name: w[i] for name, w in blocks.items()})
        if self.experts:
            x = x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * params['norm']
        else:
            x = peer.norm(x, params['norm.gain'], params['norm.bias'])
        logits = self.at(x @ params['tokens'].T, ('batch', 'seq', 'vocab'))
        # The target's logit as a sum over a mask: looked up along a split dim, GSPMD would gather all logits.
        own = jnp.where(targets[..., None] == jnp.arange(c['vocab']), logits, 0).sum(-1)
        return (nn.logsumexp(logits, -1) - own).mean()


class Peer(peer.Peer):
    def open(self, form, config, experts, batch, batches, optimizer, folder):
        folder, axes = pathlib.Path(folder), form['mesh']
        mesh = Mesh(np.array(jax.devices()[:4]).reshape(tuple(axes.values())), tuple(axes))
        images = 'height' in config
        model = jax_images.Images(form, config, mesh, spec) if images else Model(form, config, experts, mesh)
        at_rest = form['layout'] | form.get('params', {})
        rules = {'params': at_rest, 'state': at_rest | form.get('state', {})}
        entries = json.loads((folder / 'weights.json').read_text())
        place = lambda name, kind: NamedSharding(mesh, spec(jax_images.dims_of(name) if images else dims_of(name, experts), rules[kind]))
        params = {e['name']: jax.device_put(np.fromfile(folder / e['file'], e['dtype']).reshape(e['shape']), place(e['name'], 'params')) for e in entries}
        zeros = lambda: {name: jax.device_put(np.zeros(w.shape, w.dtype), place(name, 'state')) for name, w in params.items()}
        whole = NamedSharding(mesh, P())
        self.state = (params, zeros(), zeros(), jax.device_put(np.int32(0), whole))
        placed = lambda grads: {name: lax.with_sharding_constraint(g, place(name, 'state')) for name, g in grads.items()}
        given = [NamedSharding(mesh, spec(dims, form['layout'])) for dims in model.given]
        resting = jax.tree.map(lambda x: x.sharding, self.state)
        step = functools.partial(peer.train_step, c=config, o=optimizer, loss_of=model.loss, placed=placed)
        self.run = jax.jit(step, donate_argnums=0, in_shardings=(resting, *given), out_shardings=(resting, whole))
        self.batches = [model.read(folder, i, batch) for i in range(batches)]
        self.at = 0
        return {'runtime': f'JAX {jax.__version__}, {len(jax.devices())} devices of a process'}

    def close(self):
        del self.state, self.run
        return {}


if __name__ == '__main__':
    peer.serve(Peer())
