"""The peer in JAX, jitted and donated, as its users write it: the same models from the same weights, on one device or on a mesh by GSPMD. It speaks the lines of worker.ts."""
import functools
import json
import math
import os
import pathlib
import time

# Before what it imports asks for four.
os.environ['XLA_FLAGS'] = os.environ.get('XLA_FLAGS', '') + f" --xla_force_host_platform_device_count={os.environ.get('MESHWORK_BENCH_DEVICES', '1')}"

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

import jax_images
import jax_peer as forms
import peer
import resident

GROUPED = {
    'norm1': ('embed',), 'norm2': ('embed',), 'query': ('heads', 'group', 'headDim', 'embed'), 'key': ('heads', 'headDim', 'embed'), 'value': ('heads', 'headDim', 'embed'),
    'out': ('embed', 'heads', 'group', 'headDim'), 'gate': ('hidden', 'embed'), 'up': ('hidden', 'embed'), 'down': ('embed', 'hidden'),
}


class Grouped(forms.Model):
    """A Llama: RMS norms, rotary positions, gated units, keys and values shared by groups of heads."""
    def expert_block(self, x, p):
        rms = lambda y, gain: y * lax.rsqrt((y * y).mean(-1, keepdims=True) + 1e-5) * gain
        h, c = rms(x, p['norm1']), self.c
        group = c['heads'] // c['kvHeads']
        q = jnp.einsum('bse,hgde->bshgd', h, p['query']).reshape(*h.shape[:2], c['heads'], -1)
        k, v = (jnp.repeat(jnp.einsum('bse,hde->bshd', h, p[name]), group, axis=2) for name in ('key', 'value'))
        out = p['out'].reshape(p['out'].shape[0], c['heads'], -1)
        x = self.stream(x + jnp.einsum('bshd,ehd->bse', self.attend(self.turned(q), self.turned(k), v), out))
        h = rms(x, p['norm2'])
        if 'router' in p:
            return self.stream(x + self.routed(h, p))
        up = self.at(nn.silu(h @ p['gate'].T) * (h @ p['up'].T), ('batch', 'seq', 'hidden'))
        return self.stream(x + up @ p['down'].T)


def dims_of(name, of):
    if of['kind'] == 'images':
        return jax_images.dims_of(name)
    if of['kind'] == 'llama' and 'experts' not in of and name.startswith('blocks.'):
        return ('layers', *GROUPED[name[len('blocks.'):]])
    return forms.dims_of(name, of['kind'] == 'llama')


class OnCard(forms.Model):
    """With cuDNN's attention, as users of JAX ask for it on a card."""
    def attend(self, q, k, v):
        return nn.dot_product_attention(q, k, v, is_causal=True, implementation='cudnn')


class Peer(peer.Peer):
    def open(self, of, compute, mesh, optimizer, folder, batches):
        folder = pathlib.Path(folder)
        count = mesh['batch'] * mesh['model']
        axes = Mesh(np.array(jax.devices()[:count]).reshape(mesh['batch'], mesh['model']), ('batch', 'model'))
        layout = {'batch': 'batch', 'heads': 'model', 'hidden': 'model', 'vocab': 'model'} if of['kind'] != 'images' else {'batch': 'batch'}
        form = {'layout': layout, 'mesh': mesh} | ({'params': {}} if 'experts' in of else {})
        if of['kind'] == 'images':
            model = jax_images.Images(form, of['config'], axes, forms.spec)
        elif of['kind'] == 'llama':
            model = Grouped(form, of['config'], of.get('experts') or True, axes)
        elif jax.default_backend() != 'cpu':
            model = OnCard(form, of['config'], None, axes)
        else:
            model = forms.Model(form, of['config'], None, axes)
        place = lambda name: NamedSharding(axes, forms.spec(dims_of(name, of), layout))
        entries = json.loads((folder / 'weights.json').read_text())
        params = {e['name']: jax.device_put(np.fromfile(folder / e['file'], e['dtype']).reshape(e['shape']), place(e['name'])) for e in entries}
        zeros = lambda: {name: jax.device_put(np.zeros(w.shape, w.dtype), place(name)) for name, w in params.items()}
        whole = NamedSharding(axes, P())
        self.state = (params, zeros(), zeros(), jax.device_put(np.int32(0), whole))
        narrow = lambda tree: jax.tree.map(lambda x: x.astype(jnp.bfloat16), tree) if compute == 'bf16' else tree
        loss_of = lambda params, x, y, c: model.loss(narrow(params), x, y, c).astype(jnp.float32)
        placed = lambda grads: {name: lax.with_sharding_constraint(g, place(name)) for name, g in grads.items()}
        given = [NamedSharding(axes, forms.spec(dims, layout)) for dims in model.given]
        resting = jax.tree.map(lambda x: x.sharding, self.state)
        step = functools.partial(peer.train_step, c=of['config'], o=optimizer, loss_of=loss_of, placed=placed)
        self.run = jax.jit(step, donate_argnums=0, in_shardings=(resting, *given), out_shardings=(resting, whole))
        self.batches = [model.read(folder, i, of['batch']) for i in range(batches)]
        self.at = 0
        return {'runtime': f'JAX {jax.__version__} jit, {count} devices'}

    def roof(self, size, dtype, device):
        x, y = jnp.full((size, size), 2.0 ** -7, dtype), jnp.full((size, size), 0.5, dtype)
        # One product after another in one program, so that a launch is a small part of each.
        count, best = 20, math.inf
        chain = jax.jit(lambda x, y: lax.fori_loop(0, count, lambda _, z: x @ z, y))
        for _ in range(5):
            start = time.perf_counter()
            chain(x, y).block_until_ready()
            best = min(best, (time.perf_counter() - start) * 1000 / count)
        return {'ms': best}

    def forget(self):
        resident.forget()
        return {}

    def memory(self):
        return resident.memory()

    def close(self):
        del self.state, self.run
        return {}


if __name__ == '__main__':
    peer.serve(Peer())
