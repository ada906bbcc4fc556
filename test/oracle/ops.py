"""The op table's cases as a person writes them in JAX: name → the order of the result's dims, and a function of the operands, whose dims lie as the case lists them."""
import math

import jax
import jax.numpy as jnp
from jax import lax, nn
from jax.extend.random import threefry_2x32
from jax.scipy.special import erf, erfc, erfinv, logsumexp

SPATIAL = 'WHD'


def whole_numbers(f):
    """Of numbers in [−8, 8), the second not 0."""
    return 'a b', lambda x, y: f(x - 8, jnp.where(y < 8, y - 8, y - 7))


def bits(f):
    return 'a b', lambda x, y: f((x * 123457).astype(jnp.uint32), y.astype(jnp.uint32)).astype(jnp.int32)


def same(f):
    return 'a b', f


# Random numbers: the counters are ours, documented in src/graph/random.ts; Threefry is JAX's.

def word(key, first, second):
    k0, k1, c0, c1 = (jnp.asarray(x, jnp.uint32) for x in (*key, first, second))
    shape = jnp.broadcast_shapes(c0.shape, c1.shape)
    counts = jnp.concatenate([jnp.broadcast_to(c, shape).ravel() for c in (c0, c1)])
    return threefry_2x32((k0, k1), counts)[:math.prod(shape)].reshape(shape)


def fold(key, data):
    return word(key, data, 0xffffffff), word(key, data, 0xfffffffe)


def key_of(seed):
    return fold((seed, 0), 0)


def random_bits(key, shape):
    first, *rest = shape
    return word(key, jnp.arange(math.prod(rest)).reshape(1, *rest), jnp.arange(first).reshape(-1, *(1 for _ in rest)))


def uniform(key, *shape):
    return (random_bits(key, shape) >> 8) / 2 ** 24


def open_uniform(key, *shape):
    return uniform(key, *shape) + 2 ** -25


def normal(key, *shape):
    radius = jnp.sqrt(-2 * jnp.log(1 - uniform(fold(key, 1), *shape)))
    return radius * jnp.cos(2 * math.pi * uniform(fold(key, 2), *shape))


def gumbel(key, *shape):
    return -jnp.log(-jnp.log(open_uniform(key, *shape)))


def truncated_normal(key, *shape):
    low, high = erf(-math.sqrt(2)), erf(math.sqrt(2))
    return math.sqrt(2) * erfinv(low + (high - low) * open_uniform(key, *shape))


# Windows.

def conv(numbers, stride=(1,), padding='SAME', dilation=None, groups=1):
    """By XLA's dimension numbers: `NWC WIO NWC`."""
    return lambda x, w: lax.conv_general_dilated(
        x, w, stride, padding, rhs_dilation=dilation, dimension_numbers=numbers.split(), feature_group_count=groups)


def conv_grouped(x, w, stride=(1,), padding='SAME'):
    """x: batch spatial… groups in, w: spatial… groups in out → batch spatial… groups out."""
    *outer, groups, channels = x.shape
    *kernel, _, _, out = w.shape
    axes = SPATIAL[:len(kernel)]
    kernels = jnp.moveaxis(w, -3, -2).reshape(*kernel, channels, groups * out)
    y = conv(f'N{axes}C {axes}IO N{axes}C', stride, padding, groups=groups)(x.reshape(*outer, groups * channels), kernels)
    return y.reshape(*y.shape[:-1], groups, out)


def conv_transposed(padding, stride, dilation=1):
    """The transpose of a convolution with this kernel, x: n w c, w: w in out."""
    def f(x, w):
        return lax.conv_transpose(x, jnp.swapaxes(w, 1, 2), (stride,), padding, (dilation,), ('NWC', 'WIO', 'NWC'), transpose_kernel=True)
    return f


def pool(op, size, stride=None, padding='VALID'):
    init = {lax.add: 0., lax.max: -jnp.inf, lax.min: jnp.inf}[op]
    return lambda x: lax.reduce_window(x, init, op, size, stride or size, padding)


def mean_pool(size, stride, padding):
    return lambda x: pool(lax.add, size, stride, padding)(x) / pool(lax.add, size, stride, padding)(jnp.ones_like(x))


def pool_dilated(x):
    """By slices: JAX has no gradient of a dilated pool."""
    padded = jnp.pad(x, ((2, 2), (0, 0)), constant_values=-jnp.inf)
    return jnp.stack([padded[k:k + len(x)] for k in (0, 2, 4)]).max(0)


def conv_gradients(x, w):
    def loss(x, w):
        return jnp.sum(conv_grouped(x, w, (2,)) ** 2)
    # The kernel has no features of its own, only groups: one output channel each.
    dx, dw = jax.grad(loss, (0, 1))(x, w[..., None])
    return dx * dw[..., 0].sum(0)


def depthwise_1d(x, w, **options):
    return conv_grouped(x[..., None], w[:, :, None, None], **options)[..., 0]


# Loops.

def mlp(x, up, down):
    return jnp.tanh(x @ up) @ down


def scan_layers(x, up, down, bias):
    def layer(carry, w):
        nxt = carry + mlp(carry, *w) + bias
        return nxt, nxt.sum(1)
    out, ys = lax.scan(layer, x, (up, down))
    return out + ys.sum(0)[:, None]


def scan_residual(x, up, down):
    return lax.scan(lambda c, w: (c + mlp(c, *w), None), x, (up, down))[0]


def cond_in_scan(x, up, down):
    def turn(c, w):
        return lax.cond(w[2] == 1, lambda: c / 2, lambda: c + mlp(c, w[0], w[1])), None
    return lax.scan(turn, x, (up, down, jnp.arange(3)))[0]


def scan_reversed(x, xs, w):
    def turn(c, s):
        nxt = jnp.sin(c * w + s)
        return nxt, nxt
    last, ys = lax.scan(turn, x, xs, reverse=True)
    return ys * last


def scan_in_scan(x, ws):
    def inner(s, v):
        return s * v + jnp.sin(s), None
    return lax.scan(lambda c, w: (lax.scan(inner, c, w)[0], None), x, ws)[0]


def while_loop(x, y):
    n, total = lax.while_loop(
        lambda c: jnp.maximum(c[0], 2 * c[1].max()) < 7, lambda c: (c[0] + 1, (c[1] + y ** 2) * 1.2), (0, x))
    return (total + n) * 4


def microbatches(x, w):
    # However many parts a batch is cut into.
    loss, grads = jax.value_and_grad(lambda w: jnp.mean(jnp.tanh(x @ w) ** 2))(w)
    return grads + loss + 2 * grads


def remat(x, up, down):
    def block(x):
        return x + mlp(x, up, down)
    return block(jnp.sin(block(x)))


# Lookups. Indices out of range: reads are clamped, writes dropped.

def scatter_extremum(f, neutral):
    def scattered(x, i, u):
        hits = i[:, None] == jnp.arange(8)  # b v
        best = f.reduce(jnp.where(hits[:, :, None], u[:, None], neutral), axis=0)  # v e
        return f(x, best) ** 2
    return scattered


def scatter_dropping(x, i, u):
    i = 3 * i - 4
    return x.at[jnp.where(i < 0, 8, i)].add(u, mode='drop') ** 2


def order(x, axis=0, descending=False):
    return jnp.argsort(x, axis=axis, stable=True, descending=descending).astype(jnp.int32)


def dynamic_update(x, i):
    return lax.dynamic_update_slice_in_dim(x, jnp.exp(x[:, 1:4]), i, 1) ** 2


def sort_with(x, y):
    places = jnp.argsort(x, axis=1)
    return jnp.take_along_axis(x, places, 1) * jnp.take_along_axis(y.T, places, 1)


def masked_log(x):
    positive = jnp.where(x > 0.05, x, 1)
    return jnp.where(x > 0.05, jnp.log(2 * positive) + jnp.sqrt(positive), 0)


def masked_root(x, y):
    positive = jnp.where(x <= 0.1, 1, x)
    return jnp.where(x <= 0.1, y, y / jnp.sqrt(positive))


def out_of_range(x):
    def saturated(x, low, high):
        return jnp.clip(jnp.trunc(x * 1e11), low, high)
    return saturated(x, -2 ** 31, 2 ** 31 - 1) + saturated(x - 0.5, 0, 2 ** 32 - 1)


def layer_norm(x, gain, bias):
    return nn.standardize(x, axis=-1, epsilon=1e-5) * gain + bias


def turned(x, base, apart, together):
    """Pairs of x (position, element) as complex numbers, each times e^(i position frequency)."""
    pairs = x.shape[1] // 2
    turns = jnp.exp(1j * jnp.arange(x.shape[0])[:, None] * base ** (-2. * jnp.arange(pairs) / x.shape[1])[None, :])
    real, imaginary = apart(x)
    z = (real + 1j * imaginary) * turns
    return together(z.real, z.imag)


def back_and_far(x):
    rows = x.shape[0]
    back = jnp.concatenate([x[:, 5:], jnp.full((rows, 5), 3.)], 1)
    return back * 0 + jnp.concatenate([jnp.full((rows, 3), -1.), x[:, :-3]], 1)



def captured_by_a_loop(x, w):
    last, before = lax.scan(lambda c, row: (0.5 * c + row * w, c), w, x)
    return before + last


def safe(x):
    """1 where x is not above 0, so that no derivative there is infinite."""
    return jnp.where(x > 0, x, 1)


# NaN, told as −7; and numbers that are neighbours in f32.

def with_nan(f, dims='a'):
    """Of √x, x a few whole numbers of which some are negative, rounded; where the result is NaN, −7."""
    def told(x):
        y = f(jnp.round(jnp.sqrt(x.astype(jnp.float64))))
        return jnp.where(jnp.isnan(y), -7, y)
    return dims, told


def of_neighbours(f, dims='a'):
    def near(x):
        return f(0.4 * x + jnp.arange(x.shape[1]) * 5 % 8 * 2 + 1e7) - (1e7 - 20)
    return dims, near


# Layers.

def attend(q, k, v, seen=None):
    """By jax.nn's own; what sees nothing gives 0."""
    if seen is None:
        return nn.dot_product_attention(q, k, v)
    found = nn.dot_product_attention(q, k, v, mask=seen[:, None])
    return jnp.where(seen.any(-1)[..., None, None], found, 0)


def heads(x, memory, query, key, value, out, seen):
    q, k, v = (jnp.einsum('bse,ehk->bshk', y, w) for y, w in ((x, query), (memory, key), (memory, value)))
    return jnp.einsum('bshk,hke->bse', attend(q, k, v, seen), out)


def earlier(n):
    return jnp.tril(jnp.ones((1, n, n), bool))


def of_documents(x, query, key, value, out, segments, prefix):
    seen = (segments[:, :, None] == segments[:, None]) & (earlier(4) | (prefix == 1)[:, None])
    return heads(x, x, query, key, value, out, seen)


def lstm_step(x, h, c, w, past, bias):
    i, f, g, o = jnp.moveaxis(jnp.einsum('bi,igh->bgh', x, w) + jnp.einsum('br,rgh->bgh', h, past) + bias, 1, 0)
    c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
    return nn.sigmoid(o) * jnp.tanh(c), c


def lstm_all(x, w, past, bias):
    h = c = jnp.zeros((x.shape[0], past.shape[0]), x.dtype)
    out = []
    for t in range(x.shape[1]):
        h, c = lstm_step(x[:, t], h, c, w, past, bias)
        out.append(h)
    return jnp.stack(out, 1) + c[:, None]


def lstm_back(x, w, past, bias, mask, h):
    c, out = 2 * h, []
    for t in reversed(range(x.shape[1])):
        there = mask[:, t, None] > 0
        h, c = (jnp.where(there, new, old) for new, old in zip(lstm_step(x[:, t], h, c, w, past, bias), (h, c)))
        out.append(h)
    return jnp.stack(out[::-1], 1)


def lstm_once(x, w, past, bias, h, c):
    h, c = lstm_step(x, h, c, w, past, bias)
    return h * c


def weighted_loss(x, w, n):
    loss = lambda w: jnp.sum(jnp.tanh(x @ w) * n) / n.sum()
    value, slope = jax.value_and_grad(loss)(w)
    return slope * n.sum() + value


CASES = {
    'attention': ('b s h k', attend),
    'attention to what is visible': ('b s h k', lambda q, k, v, seen: nn.dot_product_attention(q, k, v, bias=jnp.where(seen > -0.3, 0, -1e9)[None, None])),
    'attention, isolated': ('b s h k', lambda q, k, v, seen: attend(q, k, v, seen > 0.1)),
    'self-attention': ('b s e', lambda x, *w: heads(x, x, *w, earlier(4).repeat(2, 0))),
    'self-attention of documents, with prefixes': ('b s e', of_documents),
    'cross-attention': ('b s e', lambda x, query, key, value, out, memory, keep: heads(x, memory, query, key, value, out, jnp.broadcast_to((keep > 0)[:, None], (2, 4, 2)))),
    'lstm': ('b s h', lstm_all),
    'lstm of some steps, in reverse': ('b s h', lstm_back),
    'lstm, one step': ('b h', lstm_once),
    'weighted mean': ('', lambda x, n: jnp.average(x, weights=n) + n.sum() * 0.125),
    'loss and gradients, scaled by what is summed': ('b', weighted_loss),
    # Elementwise.
    'neg': same(lambda x: -x),
    'exp': same(jnp.exp),
    'log': same(jnp.log),
    'tanh': same(jnp.tanh),
    'sqrt': same(jnp.sqrt),
    'rsqrt': same(lax.rsqrt),
    'abs': same(jnp.abs),
    'sin': same(jnp.sin),
    'cos': same(jnp.cos),
    'sigmoid': same(nn.sigmoid),
    'square': same(jnp.square),
    'relu': same(nn.relu),
    'gelu': same(nn.gelu),
    'add': same(jnp.add),
    'sub': same(lambda x, y: y - x),
    'mul': same(jnp.multiply),
    'div': same(jnp.divide),
    'maximum': same(jnp.maximum),
    'minimum': same(jnp.minimum),
    'pow': same(jnp.power),
    'compare': same(lambda x, y: jnp.where(x < y, x, 3 * y)),
    'cast': same(lambda x: (10 * x).astype(jnp.int32) + 1),
    'where': same(lambda x, y: jnp.where(x >= 0, y, 0)),
    'expm1': same(jnp.expm1),
    'log1p': same(jnp.log1p),
    'cbrt': same(jnp.cbrt),
    'tan': same(jnp.tan),
    'erf': same(erf),
    'erfc': same(lambda x: erfc(3 * x)),
    'erfInv': same(lambda x: erfinv(0.9 * x)),
    'reciprocal': same(jnp.reciprocal),
    'exp2': same(jnp.exp2),
    'log2': same(jnp.log2),
    'log10': same(jnp.log10),
    'asin': same(lambda x: jnp.arcsin(0.9 * x)),
    'acos': same(lambda x: jnp.arccos(0.9 * x)),
    'atan': same(lambda x: jnp.arctan(3 * x)),
    'atan of many': same(lambda x: jnp.arctan2(3 * x, jnp.ones_like(x))),
    'sinh': same(jnp.sinh),
    'cosh': same(jnp.cosh),
    'asinh': same(lambda x: jnp.arcsinh(3 * x)),
    'acosh': same(lambda x: jnp.arccosh(x + 1)),
    'atanh': same(lambda x: jnp.arctanh(0.9 * x)),
    'clamp': same(lambda x: jnp.clip(x, -0.5, 0.25)),
    'floor': same(lambda x: jnp.floor(5 * x)),
    'ceil': same(lambda x: jnp.ceil(5 * x)),
    'round': same(lambda x: jnp.round(5 * x)),
    'sign': same(jnp.sign),
    'atan2': same(jnp.arctan2),
    'rem': same(lambda x, y: jnp.fmod(7 * x, y)),
    'mod': same(lambda x, y: jnp.mod(7 * x, y + 2)),
    'floorDiv': same(lambda x, y: jnp.floor_divide(7 * x, y + 2)),
    'rem of integers': whole_numbers(jnp.fmod),
    'mod of integers': whole_numbers(jnp.mod),
    'floorDiv of integers': whole_numbers(jnp.floor_divide),
    'div of integers': whole_numbers(lax.div),
    'abs and sign of integers': whole_numbers(lambda x, y: -(jnp.abs(x) * jnp.sign(x))),
    'division by zero of integers': whole_numbers(lambda x, y: lax.div(x, x - x) + lax.rem(x, x - x)),
    'notEqual of integers': whole_numbers(lambda x, y: ((x != y) | ((x <= y) & (x > -3))).astype(jnp.int32)),
    'pow of integers': whole_numbers(lambda x, y: jnp.power(x, jnp.minimum(jnp.abs(y), 5))),
    'and of bits': bits(jnp.bitwise_and),
    'or of bits': bits(jnp.bitwise_or),
    'xor of bits': bits(jnp.bitwise_xor),
    'not of bits': bits(lambda x, y: jnp.bitwise_not(x)),
    'popcount of bits': bits(lambda x, y: lax.population_count(x)),
    'leadingZeros of bits': bits(lambda x, y: lax.clz(x)),
    'shiftLeft of bits': bits(jnp.left_shift),
    'shiftRight of bits': bits(jnp.right_shift),
    'shiftRightArithmetic of bits': bits(lambda x, y: -x.astype(jnp.int32) >> y.astype(jnp.int32)),
    'booleans': same(lambda x, y: ((x > 0) ^ ~(y < 0)).astype(jnp.int32)),
    'isNaN, isFinite': same(lambda x, y: (jnp.isnan(x / (y - y)) | jnp.isfinite(jnp.log(x))).astype(jnp.int32)),
    'cast out of range': same(out_of_range),
    'where of what is undefined': same(masked_log),
    'where, the other way': same(masked_root),
    'iota': same(lambda x: x * jnp.arange(8)),
    'stopGradient': same(lambda x: x * lax.stop_gradient(x)),
    'relayout': same(lambda x, y: jnp.tanh(x) * y),
    'leakyRelu': same(nn.leaky_relu),
    'elu': same(nn.elu),
    'celu': same(lambda x: nn.celu(x, 0.5)),
    'selu': same(nn.selu),
    'silu': same(nn.silu),
    'softplus': same(lambda x: nn.softplus(20 * x)),
    'logSigmoid': same(lambda x: nn.log_sigmoid(20 * x)),
    'mish': same(nn.mish),
    'geluExact': same(lambda x: nn.gelu(x, approximate=False)),
    'relu6': same(lambda x: nn.relu6(10 * x)),
    'hardSigmoid': same(lambda x: nn.hard_sigmoid(5 * x)),
    'hardSwish': same(lambda x: nn.hard_swish(5 * x)),
    'glu': same(lambda x: nn.glu(x, axis=1)),
    # Reductions, contractions, normalisation.
    'sum': ('a c', lambda x: x.sum(1)),
    'sum of all': ('', jnp.sum),
    'mean': ('b', lambda x: x.mean((0, 2))),
    'max': ('a c', lambda x: x.max(1)),
    'min': ('a b', lambda x: x.min(2)),
    'prod': ('a c', lambda x: x.prod(1)),
    'prod of all, with zeros': ('b', lambda x: jnp.where(x > 0.9, 0, 2 * x).prod((0, 2))),
    'any and all': ('a c', lambda x: ((x > 0.8).any(1) & (x < 0.9).all(1)).astype(jnp.int32)),
    'argmax': ('a c', lambda x: jnp.argmax(x, 1)),
    'argmin of few values': ('a c', lambda x: jnp.argmin(x, 1)),
    'argmax with NaN': ('a c', lambda x: jnp.argmax(jnp.log(jnp.sqrt(0.5 - x)), 1)),
    'variance': ('a', lambda x: x.var((1, 2))),
    'std': ('a c', lambda x: x.std(1)),
    'norm': ('', lambda x: jnp.linalg.norm(x.ravel())),
    'dot': ('b o', jnp.matmul),
    'dot over two': ('b o', lambda x, y: jnp.einsum('bhk,okh->bo', x, y)),
    'dot batched': ('b h s t', lambda q, k: jnp.einsum('bshk,bthk->bhst', q, k)),
    'outer product': ('a b', jnp.outer),
    'einsum of three': ('a e', lambda x, y, z: x @ y @ z),
    'einsum of five': ('a c', lambda x, y, z, u, v: (x @ y) * (z @ u @ v).T),
    'einsum to a scalar': ('', lambda x, y, z: z @ x @ y),
    'two layers': ('b o', lambda x, up, down: nn.relu(x @ up) @ down),
    'rename': ('s2 s', lambda x: x @ x.T),
    'softmax': ('a c', lambda x: nn.softmax(x, axis=1)),
    'logsumexp': ('a', lambda x: logsumexp(x, 1)),
    'logSoftmax': ('a b', lambda x: nn.log_softmax(9 * x, axis=1)),
    'cross-entropy of some': ('a s', lambda x, t: jnp.where(t == 3, 0, -jnp.take_along_axis(nn.log_softmax(x), t[..., None], 2)[..., 0])),
    'cross-entropy, its mean over some': ('', lambda x, t: jnp.mean(-jnp.take_along_axis(nn.log_softmax(x), t[..., None] - 1, 2)[..., 0], where=t > 0)),
    'cross-entropy in chunks': ('', lambda x, w, t: -jnp.mean(jnp.take_along_axis(nn.log_softmax(x @ w.T), t[..., None], 2))),
    'cross-entropy of some, in chunks': ('', lambda x, w, t: -jnp.mean(jnp.take_along_axis(nn.log_softmax(jnp.einsum('sae,ec->asc', x, w)), t[..., None], 2)[..., 0], where=t != 3)),
    'cross-entropy': ('a s', lambda x, t: -jnp.take_along_axis(nn.log_softmax(x), t[..., None], 2)[..., 0]),
    'layer norm': ('a s e', layer_norm),
    'rms norm': ('a e', lambda x, gain: x / jnp.sqrt(jnp.mean(x ** 2, axis=1, keepdims=True) + 1e-6) * gain),
    'rotary': ('s e', lambda x: turned(x, 10000.0, lambda z: (z[..., :4], z[..., 4:]), lambda p, q: jnp.concatenate([p, q], axis=-1))),
    'rotary of neighbours': ('s e', lambda x: turned(x, 100.0, lambda z: (z[..., 0::2], z[..., 1::2]), lambda p, q: jnp.stack([p, q], axis=-1).reshape(x.shape))),
    'lora': ('a h', lambda x, w, down, up: x @ (w + 0.5 * down @ up)),
    # Elements to places known beforehand.
    'broadcast': ('a b c', lambda x: jnp.broadcast_to(x[None, :, None] ** 2, (4, 4, 2))),
    'reorder': ('a b c', jnp.exp),
    'split': ('h l b', lambda x: x.reshape(4, 2, 4) ** 2),
    'split in three': ('b h k l', lambda x: jnp.exp(x).reshape(2, 2, 4, 2)),
    'merge': ('a b', lambda x: jnp.exp(jnp.swapaxes(x, 1, 2).reshape(8, 4))),
    'merge of three': ('a', lambda x: jnp.exp(jnp.moveaxis(x, 2, 0).ravel() ** 2)),
    'split of a sum': ('h l', lambda x, y: (x @ y).reshape(4, 2)),
    'slice': ('a b', lambda x: x[1:6] ** 2),
    'slice by steps': ('ah b', lambda x: jnp.exp(x[1::2])),
    'slice of halves': ('b a', lambda x: x[:, ::2] * x[:, 1::2]),
    'pad': ('a b', lambda x: jnp.pad(x, ((1, 3), (0, 0)), constant_values=2) ** 2),
    'pad and cut': ('b a', lambda x: jnp.pad(x[:, 2:], ((0, 0), (0, 2))) ** 2),
    'shift': ('a b', lambda x: x.at[1:].multiply(x[:-1]).at[0].set(0)),
    'shift back and far': ('b a', back_and_far),
    'roll': ('a b', lambda x: jnp.roll(x, 1, 0) * jnp.roll(x, -3, 0) + jnp.roll(x, 12, 0)),
    'reverse': ('a b', lambda x: jnp.flip(x, 0) * x),
    'concat': ('ac b', lambda x, y: jnp.concatenate([x, y.T, jnp.exp(x)]) ** 2),
    'concat of unequal': ('a b', lambda x: jnp.concatenate([x[:3], x, x[3:]]) ** 2),
    'stack': ('as a b', lambda x, y: jnp.exp(jnp.stack([x, y]))),
    'unstack': ('b', lambda x: 8 * x[0] + 4 * x[1] ** 2 + 2 * x[2] ** 2 + x[3] ** 2),
    'index': ('b', lambda x: jnp.exp(x[5])),
    'parts': ('a b', lambda x: jnp.prod(jnp.stack(jnp.split(x, 2)), 0)),
    'relayout to others': ('a b', lambda x: jnp.exp(2 * x)),
    # Elements to places that are computed.
    'take': ('b s e', lambda x, i: x[i]),
    'take in the middle': ('a b e', lambda x, i: x[:, i]),
    'take one': ('a e', lambda x, i: x[:, i]),
    'take, elementwise along a shared dim': ('b s e', lambda x, i: jnp.take_along_axis(x, i[..., None], 1) ** 2),
    'take along its own dim': ('b v', lambda x, i: jnp.take_along_axis(x, i, 1) ** 2),
    'take out of range': ('b e', lambda x, i: jnp.take(x, 3 * i - 4, axis=0, mode='clip') ** 2),
    'scatter set': ('v e', lambda x, i, u: x.at[i].set(u) ** 2),
    'scatter add': ('v e', lambda x, i, u: x.at[i].add(u) ** 2),
    'scatter max': ('v e', scatter_extremum(jnp.maximum, -jnp.inf)),
    'scatter min': ('v e', scatter_extremum(jnp.minimum, jnp.inf)),
    'scatter, elementwise along a shared dim': ('b v', lambda x, i, u: x.at[jnp.arange(4)[:, None], i].add(u) ** 2),
    'scatter of two dims': ('e v', lambda x, i, u: x.at[:, i].set(jnp.transpose(u, (1, 2, 0))) ** 2),
    'scatter out of range': ('v e', scatter_dropping),
    'dynamicSlice': ('e vs', lambda x, i: lax.dynamic_slice_in_dim(x, i, 4, 1) ** 2),
    'dynamicSlice, the same name': ('v e', lambda x, i: lax.dynamic_slice_in_dim(x, i, 2) ** 2),
    'dynamicUpdate': ('e v', dynamic_update),
    'oneHot': ('b v', lambda i: nn.one_hot(i, 8)),
    'sort': ('v e', lambda x: jnp.sort(x, 0) ** 2),
    'sort, descending': ('e v', lambda x: jnp.sort(x, 1, descending=True) ** 2),
    'sort with others': ('e v', sort_with),
    'argsort': ('v e', order),
    'sort of few values': ('v e', lambda x: order(x, descending=True)),
    'argsort with NaN': ('v e', lambda x: order(jnp.log(x))),
    'argsort with NaN, descending': ('e v', lambda x: order(jnp.log(x), 1, True)),
    'argsort with both zeros': ('v e', lambda x, y: order(x * y)),
    'sort of bf16': ('v e', lambda x: jnp.sort((x - 4).astype(jnp.bfloat16), 0)),
    'sort of f16, descending': ('v e', lambda x: jnp.sort((x - 4).astype(jnp.float16), 0, descending=True)),
    'topK': ('e vk', lambda x: lax.top_k(x.T, 2)[0] ** 2),
    'topK of many': ('e vk', lambda x: lax.top_k(x, 6)[0] ** 2),
    'topK indices': ('e vk', lambda x: lax.top_k(x.T, 2)[1]),
    'topK with NaN': ('vk e', lambda x: order(jnp.log(x), descending=True)[:4]),
    'topK with both zeros': ('vk e', lambda x, y: order(x * y, descending=True)[:4]),
    'nth': ('e', lambda x: jnp.sort(x, 0)[2] + jnp.max(x, 0)),
    'median': ('e', lambda x: jnp.median(x, 0)),
    'cumsum': ('v e', lambda x: jnp.cumsum(x, 0) ** 2),
    'cumsum, exclusive in reverse': ('e v', lambda x: (lax.cumsum(x, 1, reverse=True) - x) ** 2),
    'cumsum of integers': ('e v', lambda x: jnp.cumsum(x, 1)),
    'cumprod': ('v e', lambda x: jnp.cumprod(2 * x, 0) ** 2),
    'cumprod in reverse': ('e v', lambda x: lax.cumprod(2 * x, 1, reverse=True) ** 2),
    'cummax': ('v e', lambda x: lax.cummax(x, 0) ** 2),
    'cummin, exclusive in reverse': ('e v', lambda x: lax.cummin(x, 1, reverse=True) ** 2),
    # Random numbers.
    'uniform': ('a b', lambda: uniform(key_of(3), 4, 8)),
    'normal': ('a b', lambda: normal(key_of(5), 4, 8)),
    'dropout': ('a b', lambda x: jnp.where(uniform(key_of(7), 4, 8) >= 0.5, 2 * x, 0)),
    'uniform in a range': ('a b', lambda: 5 * uniform(key_of(11), 8, 8) - 2),
    'normal again': ('a b', lambda: normal(key_of(12), 8, 8)),
    'truncatedNormal': ('a b', lambda: truncated_normal(key_of(13), 8, 8)),
    'bernoulli': ('a b', lambda: uniform(key_of(14), 8, 8) < 0.3),
    'exponential': ('a b', lambda: -jnp.log(open_uniform(key_of(15), 8, 8))),
    'gumbel': ('a b', lambda: gumbel(key_of(16), 8, 8)),
    'randomIntegers': ('a b', lambda: (random_bits(key_of(17), (8, 8)) % 25).astype(jnp.int32) - 5),
    'categorical': ('a', lambda x: jnp.argmax(3 * x + gumbel(fold(key_of(18), 4), 4, 8), 1)),
    'splitKey': ('a b', lambda: jnp.stack([uniform(fold(key_of(19), i), 8) for i in range(8)])),
    'permutation': ('v', lambda: order(random_bits(key_of(9), (8,)))),
    # Windows.
    'conv': ('b n o', conv('NWC WIO NWC')),
    'conv of channels': ('b n o', conv('NWC WIO NWC')),
    'conv valid': ('b n o', conv('NWC WIO NWC', padding='VALID')),
    'conv by steps': ('n b o', conv('WNC IWO WNC', (2,))),
    'conv by steps that leave a rest': ('b n o', conv('NWC WOI NWC', (4,), [(1, 0)])),
    'conv by its own width': ('b nh o', conv('NWC WIO NWC', (2,), 'VALID')),
    'conv to a new name': ('b nh o', conv('NWC WIO NWC')),
    'conv by a kernel as wide': ('n o', lambda x, w: conv('NWC WIO NWC')(x[None], w)[0]),
    'conv by a split kernel': ('b n o', lambda x, w: conv('NWC WIO NWC', (2,))(x[..., None], w[:, None])),
    'conv laid out otherwise': ('b n o', lambda x, w: conv('NWC WIO NWC')(jnp.exp(x), jnp.exp(w))),
    'conv dilated': ('b n o', conv('NWC WIO NWC', dilation=(3,))),
    'conv that cuts': ('b n o', conv('NWC WIO NWC', padding=[(-2, 3)])),
    'conv shifted far': ('n', lambda x, w: conv('NWC WIO NWC', padding=[(6, -5)])(x[None], w[..., None])[0, :, 0]),
    'conv of one dim': ('n', lambda x, w: jnp.correlate(x, w, 'same')),
    'conv by 1': ('b n o', lambda x, w: x[:, ::2] @ w[0]),
    'conv 2-D': ('b h w o', conv('NHWC HWIO NHWC', (1, 2))),
    'conv 2-D, channels first': ('b o h w', conv('NCHW OIHW NCHW', (1, 1))),
    'conv 2-D of many places': ('b h w o', conv('NHWC HWIO NHWC', (1, 1), [(1, 1), (2, 0)])),
    'conv of many places, by steps': ('n b o', conv('WNC OIW WNC', (2,), [(-1, 3)], (2,))),
    'conv 2-D of halves': ('b h w', lambda x, w: jnp.exp(conv('NHWC HWIO NHWC', (1, 1), [(1, 1), (0, 0)])(x ** 2, w[..., None])[..., 0])),
    'conv 3-D': ('b d h w o', conv('NDHWC DHWIO NDHWC', (1, 2, 1))),
    'conv over two channel dims': ('b n p o', lambda x, w: sum(
        jnp.stack([conv('NWC WIO NWC')(x[j], w[p, :, :, :, j]) for p in range(w.shape[0])], 2) for j in range(x.shape[0]))),
    'conv of groups': ('b n g o', conv_grouped),
    'conv depthwise': ('b n g', lambda x, w: depthwise_1d(x, w, padding=[(2, 0)])),
    'conv depthwise, two each': ('b h w g m', lambda x, w: conv_grouped(x[..., None], jnp.swapaxes(w, 2, 3)[..., None, :], (2, 1))),
    'conv transposed': ('b n o', conv_transposed('SAME', 2)),
    'conv transposed, all': ('b n o', conv_transposed('VALID', 3, 2)),
    'conv transposed with gaps': ('b n o', conv_transposed('SAME', 4)),
    'conv, its gradients': ('b n g i', conv_gradients),
    'conv of convs': ('b n i', lambda x, w: depthwise_1d(jnp.exp(depthwise_1d(x, w)), w, stride=(2,))),
    'pool max': ('n c', lambda x: pool(lax.max, (2, 1))(x) ** 2),
    'pool max that overlaps': ('c n', lambda x: jnp.exp(pool(lax.max, (1, 3), (1, 1), 'SAME')(x))),
    'pool max by steps': ('b h w c', pool(lax.max, (1, 3, 2, 1), (1, 2, 2, 1), [(0, 0), (1, 1), (0, 0), (0, 0)])),
    'pool max of equals': ('h w', lambda x: pool(lax.max, (2, 3), (1, 1), [(0, 0), (1, 1)])(0 * x) + x.sum()),
    'pool max dilated': ('np c', pool_dilated),
    'pool min': ('n m', lambda x: pool(lax.min, (2, 3), (1, 3), [(0, 0), (1, 1)])(x) ** 2),
    'pool of integers': ('n m', lambda x: pool(lax.max, (3, 1), (2, 1), 'SAME')(x.astype(jnp.float64))),
    'pool sum': ('n c', lambda x: pool(lax.add, (3, 1), (2, 1), 'SAME')(x) ** 2),
    'pool mean': ('h w', lambda x: mean_pool((3, 2), (1, 2), [(1, 1), (0, 0)])(x) ** 2),
    'pool mean with zeros': ('w h', lambda x: (pool(lax.add, (3, 4), (1, 2), [(1, 1), (1, 1)])(x) / 12) ** 2),
    # Control.
    'scan': ('b e', scan_layers),
    'scan that sums': ('e', lambda x, w: jnp.einsum('lbe,e->e', x, w)),
    'cond that holds': ('b e', lambda x, up, down, p: lax.cond(p >= 0, lambda: mlp(x, up, down), lambda: x ** 2)),
    'cond that does not hold': ('b e', lambda x, up, down, p: lax.cond(-p >= 0, lambda: mlp(x, up, down), lambda: x ** 2)),
    'cond of sums': ('e', lambda x, y, p: jnp.prod(jnp.stack(lax.cond(p >= 0, lambda: (x.sum(0), jnp.exp(y)), lambda: (0 * y, x.max(0)))), 0)),
    'cond in scan': ('b e', cond_in_scan),
    'scan in cond': ('b e', lambda x, up, down, p: lax.cond(p >= 0, lambda: scan_residual(x, up, down), lambda: x)),
    'scan in reverse': ('l b e', scan_reversed),
    'scan in scan': ('b e', scan_in_scan),
    'scan whose stacks are reduced': ('l e', lambda x, w: jnp.einsum('lbe,b->le', x, w)),
    'while': ('b e', while_loop),
    'gradient past a while': ('b e', lambda x, y: x * lax.stop_gradient(jnp.ceil(jnp.sum(x ** 2))) * y),
    'remat': ('b e', remat),
    'microbatches': ('e h', microbatches),
    'gradient in cond': ('e', lambda x, w, p: lax.cond(p >= 0, lambda: jax.grad(lambda w: jnp.sum(jnp.tanh(x * w) ** 2))(w), lambda: w)),
    # Halves: by their tolerance, as the judge does not round.
    'bf16 arithmetic': ('a b', lambda x, y: jnp.tanh((3 * x + y) / (y + 1))),
    'f16 arithmetic': ('a b', lambda x, y: jnp.tanh((3 * x + y) / (y + 1))),
    'bf16 sum, mean': ('a c', lambda x: x.sum(1) + x.mean(1)),
    'f16 sum, mean': ('a c', lambda x: x.sum(1) + x.mean(1)),
    'bf16 variance, norm': ('a c', lambda x: x.var(1) + jnp.linalg.norm(x, axis=1)),
    'bf16 dot': ('a c', jnp.matmul),
    'f16 dot': ('a c', jnp.matmul),
    'bf16 dot of wide': ('a c', jnp.matmul),
    'bf16 dot of wide, few numbers for each of many': ('many a', lambda x, y: jnp.matmul(x.T, y)),
    'f16 dot of wide, few numbers for each of many': ('many a', lambda x, y: jnp.matmul(x.T, y)),
    'bf16 einsum': ('b', lambda x, y, z: jnp.einsum('ab,bc,ac->b', x, y, z)),
    'bf16 softmax': ('a b', lambda x: nn.softmax(x, axis=1)),
    'f16 softmax': ('a b', lambda x: nn.softmax(x, axis=1)),
    'bf16 logsumexp': ('a', lambda x: logsumexp(x, axis=1)),
    'bf16 layerNorm': ('a b', lambda x, gain, bias: nn.standardize(x, axis=1, epsilon=1e-5) * gain + bias),
    'bf16 crossEntropy': ('a', lambda x: logsumexp(x, axis=1) - x[:, 3]),
    'bf16 bias': ('a b c', jnp.add),
    'bf16 take': ('a c', lambda x: jnp.broadcast_to(x[3], (4, 4))),
    'bf16 scatter': ('b c', lambda x, u: x.at[3].add(u.sum(0))),
    'bf16 cumsum': ('a b', lambda x: jnp.cumsum(x, 1)),
    'bf16 conv': ('a b c', lambda x, w: conv('NWC WIO NWC')(x[..., None], w.T[:, None])),
    'bf16 meanPool': ('a b', lambda x: mean_pool((1, 3), (1, 3), [(0, 0), (0, 1)])(x)),
    'bf16 captured by a loop': ('a b', captured_by_a_loop),
    'bf16 microbatches': ('b', lambda x, w: (jnp.cos(x * w) * x).sum(0) / x.size),
    # Numbers of every dtype, and derivatives at their edges.
    'cast f32 to i8': ('a b', lambda x: x.astype(jnp.int8)),
    'cast f32 to u8': ('a b', lambda x: x.astype(jnp.uint8)),
    'cast f32 to i32': ('a b', lambda x: x.astype(jnp.int32)),
    'cast f32 to u32': ('a b', lambda x: x.astype(jnp.uint32)),
    'cast f32 to i64': ('a b', lambda x: x.astype(jnp.int64)),
    'cast f32 to bool': ('a b', lambda x: x != 0),
    'cast i32 to i8': ('a b', lambda x: x.astype(jnp.int8)),
    'cast i32 to u8': ('a b', lambda x: x.astype(jnp.uint8)),
    'cast i32 to i64': ('a b', lambda x: x.astype(jnp.int64)),
    'cast i32 to f32': ('a b', lambda x: x.astype(jnp.float32)),
    'cast i32 to bool': ('a b', lambda x: x != 0),
    'cast out of range of 8 bits': ('a b', lambda x: jnp.trunc(jnp.clip(x, -128, 127)) + jnp.trunc(jnp.clip(x, 0, 255))),
    'cast of bools': ('a b', lambda x: 2 * x.astype(jnp.int32)),
    'round to even': ('a b', lambda x: jnp.round(x / 2)),
    'comparisons': ('a b', lambda x, y: x + (x != y) + 2 * (x <= y) + 4 * (x > y) + 8 * (x == y) + 16 * (x < y)),
    'bools': ('a b', lambda x, y: (x & ~y) ^ (x | y) | x & y),
    'floorDiv of floats': ('a b', lambda x, y: x // y + x // -y),
    'any': ('a', lambda x: jnp.any(x, 1)),
    'all': ('a', lambda x: jnp.all(x, 1)),
    'max of bools': ('a', lambda x: jnp.max(x, 1)),
    'min of bools': ('a', lambda x: jnp.min(x, 1)),
    'argmax of bools': ('a', lambda x: jnp.argmax(x, 1) + 10 * jnp.argmin(x, 1)),
    'argmin with NaN': ('a', lambda x: jnp.argmin(jnp.sqrt(x.astype(jnp.float64)), 1)),
    'where of where': ('a b', lambda x: jnp.where(x > 0.05, jnp.where(x < 0.5, safe(x) ** -0.5, 1 / safe(x)), 3 * x)),
    'where of a masked where': ('a b', lambda x: jnp.where(x < 0.5, jnp.exp(jnp.where(x > 0.05, jnp.sqrt(2 * safe(x)), 0)), 0)),
    'where acosh': ('a b', lambda x: jnp.where(x > 0.5, jnp.arccosh(jnp.where(x > 0.5, 3 * x, 2)), 0)),
    'where atan2': ('a b', lambda x, y: jnp.where(abs(x) > 0.1, jnp.arctan2(jnp.where(abs(x) > 0.1, x, 1), 0 * y), x)),
    'stack along a dim that is split': ('s a', lambda x, y: jnp.stack([x, y, x * y, jnp.exp(y)]) ** 2),
    'pool sum of tiles, fewer than devices': ('n c', lambda x: pool(lax.add, (4, 1))(x) ** 2),
    'f32 max with NaN': with_nan(lambda x: x.max(1)),
    'f64 max with NaN': with_nan(lambda x: x.max(1)),
    'bf16 max with NaN': with_nan(lambda x: x.max(1)),
    'f16 max with NaN': with_nan(lambda x: x.max(1)),
    'f32 min with NaN': with_nan(lambda x: x.min(1)),
    'f64 min with NaN': with_nan(lambda x: x.min(1)),
    'bf16 min with NaN': with_nan(lambda x: x.min(1)),
    'f16 min with NaN': with_nan(lambda x: x.min(1)),
    'f32 max of all with NaN': with_nan(lambda x: x.max(), ''),
    'f32 min of few with NaN': with_nan(lambda x: x[:, :2].min(1)),
    'f32 maximum with NaN': with_nan(lambda x: jnp.maximum(x, 2), 'a b'),
    'f32 minimum with NaN': with_nan(lambda x: jnp.minimum(x, 2), 'a b'),
    'f32 clamp with NaN': with_nan(lambda x: jnp.clip(x, 1, 2), 'a b'),
    'f32 relu with NaN': with_nan(lambda x: jnp.maximum(x, 0), 'a b'),
    'f32 cummax with NaN': with_nan(lambda x: lax.cummax(x, 1), 'a b'),
    'bf16 cummax with NaN': with_nan(lambda x: lax.cummax(x, 1), 'a b'),
    'f32 cummin in reverse with NaN': with_nan(lambda x: lax.cummin(x, 1, reverse=True), 'a b'),
    'f32 scatter max with NaN': with_nan(lambda x: x.at[:, 1].set(jnp.maximum(x[:, 1], x[:, 0])), 'a b'),
    'f32 scatter min with NaN': with_nan(lambda x: x.at[:, 1].set(jnp.minimum(x[:, 1], x[:, 0])), 'a b'),
    'f32 maxPool with NaN': with_nan(pool(lax.max, (1, 3), (1, 1), 'SAME'), 'a b'),
    'f32 minPool with NaN': with_nan(pool(lax.min, (1, 2)), 'a b'),
    'f32 sort with NaN': with_nan(lambda x: jnp.sort(x, 1), 'a b'),
    'f64 sort with NaN': with_nan(lambda x: jnp.sort(x, 1), 'a b'),
    'f32 sort, descending with NaN': with_nan(lambda x: jnp.sort(x, 1)[:, ::-1], 'a b'),
    'f32 median with NaN': with_nan(lambda x: jnp.median(x, 1)),
    'f32 topK with NaN': with_nan(lambda x: jnp.sort(x, 1)[:, :-4:-1], 'a bk'),
    'f32 argmax with NaN': with_nan(lambda x: jnp.argmax(x, 1)),
    'max of neighbours': of_neighbours(lambda x: x.max(1)),
    'min of neighbours': of_neighbours(lambda x: x.min(1)),
    'cummax of neighbours': of_neighbours(lambda x: lax.cummax(x, 1), 'a b'),
    'maxPool of neighbours': of_neighbours(pool(lax.max, (1, 4)), 'a b'),
    'minPool of neighbours': of_neighbours(pool(lax.min, (1, 3), (1, 1), 'SAME'), 'a b'),
    'scatter max of neighbours': of_neighbours(lambda x: x.at[:, 3].set(jnp.maximum(x[:, 3], 1e7 + 3)), 'a b'),
}
