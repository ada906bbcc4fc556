"""The peer: the same ops in JAX, looped inside one program, one request a line on stdin, one answer a line on stdout."""
import json
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, nn, random
from jax.scipy.special import erf, erfinv, logsumexp


def rows_and_columns(name, f):
    return {f'{name} along rows': lambda x: f(x, 1), f'{name} along columns': lambda x: f(x, 0)}


def conv(numbers, stride, padding='SAME', groups=1):
    return lambda x, w: lax.conv_general_dilated(x, w, stride, padding, dimension_numbers=numbers.split(), feature_group_count=groups)


def conv_grouped(x, w):
    n, h, wide, g, i = x.shape
    kernel = jnp.swapaxes(w, 2, 3).reshape(*w.shape[:2], i, -1)
    return conv('NHWC HWIO NHWC', (1, 1), groups=g)(x.reshape(n, h, wide, g * i), kernel).reshape(n, h, wide, g, -1)


def conv_depthwise(x, w):
    return conv('NHWC HWIO NHWC', (1, 1), groups=w.shape[2])(x, w[:, :, None])


def pool(op, init, size, stride, padding='VALID'):
    return lambda x: lax.reduce_window(x, init, op, (1, size, size, 1), (1, stride, stride, 1), padding)


def top_k(x, axis, k):
    return jnp.moveaxis(lax.top_k(jnp.moveaxis(x, axis, -1), k)[0], -1, axis)


def sort_with(x, y):
    return sum(lax.sort((x, y), dimension=1, num_keys=1))


def dropout(x):
    keep = random.bernoulli(random.key((x.max() * 1e6).astype(jnp.int32)), 0.9, x.shape)
    return jnp.where(keep, x / 0.9, 0)


def scan_stacking(x, xs):
    def turn(c, s):
        y = c * 0.5 + s
        return y, y
    return lax.scan(turn, x, xs)[1]


SHAPE = (1024, 1024)
OPS = {
    'add': jnp.add, 'div': jnp.divide, 'maximum': jnp.maximum, 'pow': jnp.power, 'atan2': jnp.arctan2,
    'rem': lambda x, y: jnp.fmod(7 * x, y), 'mod': lambda x, y: jnp.mod(7 * x, y), 'floorDiv': lambda x, y: jnp.floor_divide(7 * x, y),
    'where': lambda x, y: jnp.where(x < y, x, 3 * y), 'add a row': jnp.add, 'add a column': lambda x, y: x + y[:, None],
    'exp': jnp.exp, 'expm1': jnp.expm1, 'exp2': jnp.exp2, 'log': jnp.log, 'log1p': jnp.log1p, 'log2': jnp.log2, 'tanh': jnp.tanh, 'sigmoid': nn.sigmoid,
    'sqrt': jnp.sqrt, 'rsqrt': lax.rsqrt, 'cbrt': jnp.cbrt, 'reciprocal': jnp.reciprocal, 'sin': jnp.sin, 'cos': jnp.cos, 'tan': jnp.tan,
    'asin': jnp.arcsin, 'acos': jnp.arccos, 'atan': jnp.arctan, 'sinh': jnp.sinh, 'cosh': jnp.cosh, 'asinh': jnp.arcsinh,
    'acosh': lambda x: jnp.arccosh(x + 1), 'atanh': jnp.arctanh, 'erf': erf, 'erfInv': erfinv, 'floor': lambda x: jnp.floor(5 * x),
    'round': lambda x: jnp.round(5 * x), 'sign': jnp.sign, 'clamp': lambda x: jnp.clip(x, -0.5, 0.25),
    'cast to i32': lambda x: (99 * x).astype(jnp.int32), 'isFinite': jnp.isfinite,
    'gelu': nn.gelu, 'geluExact': lambda x: nn.gelu(x, approximate=False), 'silu': nn.silu, 'softplus': nn.softplus, 'mish': nn.mish,

    **rows_and_columns('sum', jnp.sum), **rows_and_columns('max', jnp.max), **rows_and_columns('prod', jnp.prod), **rows_and_columns('argmax', jnp.argmax),
    **rows_and_columns('any', lambda x, axis: jnp.any(x > 0.9, axis)), **rows_and_columns('variance', jnp.var), **rows_and_columns('logsumexp', logsumexp),
    **rows_and_columns('softmax', nn.softmax), **rows_and_columns('logSoftmax', nn.log_softmax), **rows_and_columns('cumsum', jnp.cumsum),
    **rows_and_columns('cumprod', jnp.cumprod), **rows_and_columns('cummax', lax.cummax),
    **rows_and_columns('cumsum in reverse', lambda x, axis: lax.cumsum(x, axis, reverse=True)),
    'sum of all': jnp.sum, 'max of all': jnp.max, 'norm': lambda x: jnp.linalg.norm(x.ravel()),
    'layer norm': lambda x, gain, bias: nn.standardize(x, axis=-1, epsilon=1e-5) * gain + bias,
    'cross-entropy': lambda x, t: -jnp.take_along_axis(nn.log_softmax(x), t[:, None], 1)[:, 0],

    **rows_and_columns('sort', jnp.sort), **rows_and_columns('argsort', jnp.argsort), **rows_and_columns('topK of 8', lambda x, axis: top_k(x, axis, 8)),
    **rows_and_columns('topK of 128', lambda x, axis: top_k(x, axis, 128)), **rows_and_columns('median', jnp.median),
    'sort, descending': lambda x: jnp.sort(x, descending=True), 'sort with others': sort_with,
    'take rows': lambda x, i: jnp.take(x, i, axis=0, mode='clip'), 'take columns': lambda x, i: jnp.take(x, i, axis=1, mode='clip'),
    'take along': lambda x, i: jnp.take_along_axis(x, i, 1, mode='clip'),
    'scatter set': lambda x, i, u: x.at[i].set(u, mode='drop'), 'scatter add': lambda x, i, u: x.at[i].add(u, mode='drop'),
    'scatter max': lambda x, i, u: x.at[i].max(u, mode='drop'), 'scatter along': lambda x, i, u: x.at[jnp.arange(len(x))[:, None], i].add(u, mode='drop'),
    'dynamicSlice': lambda x, i: lax.dynamic_slice_in_dim(x, i, 512), 'dynamicUpdate': lambda x, u, i: lax.dynamic_update_slice_in_dim(x, u, i, 0),
    'oneHot': lambda x: nn.one_hot(x.astype(jnp.int32), 512),

    'slice': lambda x: x[:, 100:900], 'slice by steps': lambda x: x[:, 1::2], 'slice rows by steps': lambda x: x[::2], 'pad': lambda x: jnp.pad(x, ((0, 0), (3, 5))),
    'shift': lambda x: jnp.pad(x[:, :-1], ((0, 0), (1, 0))), 'roll': lambda x: jnp.roll(x, 7, 1), 'roll rows': lambda x: jnp.roll(x, 7, 0),
    'reverse': lambda x: jnp.flip(x, 1), 'reverse rows': lambda x: jnp.flip(x, 0), 'concat': lambda x, y: jnp.concatenate([x, y], 1),
    'concat rows': lambda x, y: jnp.concatenate([x, y]), 'stack': lambda x, y: jnp.stack([x, y]), 'add the transpose': lambda x, y: x + y.T,
    'merge transposed': lambda x: jnp.transpose(x, (1, 2, 0)).reshape(64, 16384), 'split and reverse': lambda x: jnp.flip(x.reshape(1024, 32, 32), 1),
    'broadcast': lambda x: jnp.broadcast_to(jnp.exp(x), SHAPE),

    'dot': jnp.matmul, 'dot, the right one transposed': lambda x, y: x @ y.T, 'dot, the left one transposed': lambda x, y: x.T @ y, 'dot with a vector': jnp.matmul,
    'dot batched': lambda q, k: jnp.einsum('hsk,htk->hst', q, k), 'dot batched inside': lambda q, k: jnp.einsum('shk,thk->hst', q, k),
    'dot over two': lambda x, y: jnp.einsum('bhk,hko->bo', x, y), 'outer product': jnp.outer, 'einsum of three': lambda x, y, z: jnp.einsum('ab,bc,ce->ae', x, y, z),

    'uniform': lambda seed: random.uniform(random.key(seed), SHAPE), 'normal': lambda seed: random.normal(random.key(seed), SHAPE),
    'truncatedNormal': lambda seed: random.truncated_normal(random.key(seed), -2, 2, SHAPE), 'bernoulli': lambda seed: random.bernoulli(random.key(seed), 0.3, SHAPE),
    'randomIntegers': lambda seed: random.randint(random.key(seed), SHAPE, 0, 1000), 'dropout': dropout,
    'categorical': lambda x: random.categorical(random.key(3), x, axis=1), 'permutation': lambda seed: random.permutation(random.key(seed), 65536),

    'conv 1-D': conv('NWC WIO NWC', (1,)), 'conv 2-D': conv('NHWC HWIO NHWC', (1, 1)), 'conv 2-D by steps': conv('NHWC HWIO NHWC', (2, 2)),
    'conv 2-D, channels first': conv('NCHW OIHW NCHW', (1, 1)), 'conv 3-D': conv('NDHWC DHWIO NDHWC', (1, 1, 1)), 'conv of groups': conv_grouped,
    'conv depthwise': conv_depthwise, 'conv transposed': lambda x, w: lax.conv_transpose(x, jnp.swapaxes(w, 2, 3), (2, 2), 'SAME', transpose_kernel=True),
    'pool max': pool(lax.max, -jnp.inf, 2, 2), 'pool max that overlaps': pool(lax.max, -jnp.inf, 3, 2, ((0, 0), (1, 1), (1, 1), (0, 0))),
    'pool sum': pool(lax.add, 0., 3, 1, 'SAME'), 'pool mean': lambda x: pool(lax.add, 0., 2, 2)(x) / 4,

    'scan of dots': lambda x, ws: lax.scan(lambda c, w: (jnp.tanh(c @ w), None), x, ws)[0], 'scan that stacks': scan_stacking,
    'while': lambda x: lax.fori_loop(0, 256, lambda _, y: y * 0.5 + x, x), 'cond': lambda x: lax.cond(x.sum(1).max() > 0, lambda: jnp.exp(x), lambda: x * 2),
    'iota': lambda x: x + lax.broadcasted_iota(jnp.float32, SHAPE, 0),
}


def looped(f):
    """So many turns, each of an operand that the turn before has changed in place: nothing can be computed once for all."""
    def run(turns, *operands):
        x, *others = operands

        def turn(_, state):
            x, _ = state
            y = f(x, *others)
            if x.ndim == 0:
                return x + 1, y
            noise = y[(0,) * y.ndim].astype(x.dtype) * 1e-20
            return lax.dynamic_update_slice_in_dim(x, x[:1] + noise, 0, 0), y
        shape = jax.eval_shape(f, *operands)
        return lax.fori_loop(0, turns, turn, (x, jnp.zeros(shape.shape, shape.dtype)))
    return jax.jit(run)


class Peer:
    def open(self, name, arrays, folder):
        folder = pathlib.Path(folder)
        self.operands = [jnp.asarray(np.fromfile(folder / a['file'], a['dtype']).reshape(a['shape'])) for a in arrays]
        self.run = looped(OPS[name])
        # The float that tells whether both computed the same; a sum does not know the order of dims.
        _, y = self.run(1, *self.operands)
        y = np.asarray(y, np.float64)
        return {'runtime': f'JAX {jax.__version__}', 'sum': float(np.abs(y).sum())}

    def time(self, turns):
        start = time.perf_counter()
        jax.block_until_ready(self.run(turns, *self.operands))
        return {'ms': (time.perf_counter() - start) * 1000}

    def close(self):
        self.operands = self.run = None
        jax.clear_caches()
        return {}


peer = Peer()
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(getattr(peer, request.pop('do'))(**request)), flush=True)
