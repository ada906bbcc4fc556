"""Elementwise functions and their slopes at doubles over their whole range, by mpmath in 700 digits: python3 make.py > f64.json (needs mpmath)."""
import json
import random
from mpmath import acos, acosh, asin, asinh, atan, atanh, cbrt, cos, cosh, erf, erfc, erfinv, exp, expm1, isinf, isnan, log, log1p, mp, mpf, pi, sin, sinh, sqrt, tan, tanh

mp.dps = 700


def sigmoid(x):
    return 1 / (1 + exp(-x))


def root3(x):
    return cbrt(x) if x >= 0 else -cbrt(-x)


def mish_gate(x):
    return tanh(log(1 + exp(x)))


def mish_slope(x):
    return mish_gate(x) + x * (1 - mish_gate(x) ** 2) * sigmoid(x)


def bent(x):
    return 2 * sqrt(2 / pi) * (x + mpf(0.044715) * x ** 3)


def gelu_slope(x):
    s = sigmoid(bent(x))
    return s + x * s * (1 - s) * 2 * sqrt(2 / pi) * (1 + 3 * mpf(0.044715) * x ** 2)


def normal(x):
    return erfc(-x / sqrt(2)) / 2


alpha, scale = mpf(1.6732632423543772), mpf(1.0507009873554805)
ln2, ln10 = log(2), log(10)
functions = {
    'exp': (exp, exp), 'expm1': (expm1, exp), 'exp2': (lambda x: mpf(2) ** x, lambda x: mpf(2) ** x * ln2),
    'log': (log, lambda x: 1 / x), 'log1p': (log1p, lambda x: 1 / (1 + x)), 'log2': (lambda x: log(x) / ln2, lambda x: 1 / (x * ln2)), 'log10': (lambda x: log(x) / ln10, lambda x: 1 / (x * ln10)),
    'sqrt': (sqrt, lambda x: 1 / (2 * sqrt(x))), 'rsqrt': (lambda x: 1 / sqrt(x), lambda x: -1 / (2 * x * sqrt(x))), 'cbrt': (root3, lambda x: 1 / (3 * root3(x) ** 2)), 'reciprocal': (lambda x: 1 / x, lambda x: -1 / x ** 2),
    'sigmoid': (sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    'erf': (erf, lambda x: 2 / sqrt(pi) * exp(-x * x)), 'erfc': (erfc, lambda x: -2 / sqrt(pi) * exp(-x * x)), 'erfInv': (erfinv, lambda x: sqrt(pi) / 2 * exp(erfinv(x) ** 2)),
    'sin': (sin, cos), 'cos': (cos, lambda x: -sin(x)), 'tan': (tan, lambda x: 1 / cos(x) ** 2),
    'asin': (asin, lambda x: 1 / sqrt(1 - x * x)), 'acos': (acos, lambda x: -1 / sqrt(1 - x * x)), 'atan': (atan, lambda x: 1 / (1 + x * x)),
    'sinh': (sinh, cosh), 'cosh': (cosh, sinh), 'tanh': (tanh, lambda x: 1 / cosh(x) ** 2),
    'asinh': (asinh, lambda x: 1 / sqrt(1 + x * x)), 'acosh': (acosh, lambda x: 1 / sqrt(x * x - 1)), 'atanh': (atanh, lambda x: 1 / (1 - x * x)),
    'elu': (lambda x: x if x > 0 else expm1(x), lambda x: mpf(1) if x > 0 else exp(x)),
    'selu': (lambda x: scale * (x if x > 0 else alpha * expm1(x)), lambda x: scale * (1 if x > 0 else alpha * exp(x))),
    'silu': (lambda x: x * sigmoid(x), lambda x: sigmoid(x) + x * sigmoid(x) * sigmoid(-x)),
    'softplus': (lambda x: log(1 + exp(x)), sigmoid), 'logSigmoid': (lambda x: -log(1 + exp(-x)), lambda x: sigmoid(-x)),
    'mish': (lambda x: x * mish_gate(x), mish_slope), 'gelu': (lambda x: x * sigmoid(bent(x)), gelu_slope),
    'geluExact': (lambda x: x * normal(x), lambda x: normal(x) + x * exp(-x * x / 2) / sqrt(2 * pi)),
}


def points(seed):
    r = random.Random(seed)
    wide = [s * 2.0 ** e * (1 + r.random()) for e in list(range(-1000, 1001, 250)) + [-40, -20, -8, 40] for s in (1, -1)]
    bends = [r.uniform(-b, b) for b in (1, 1, 1, 4, 4, 4, 4, 10, 10, 10, 30, 30, 40, 100, 700, 745)]
    return [x for x in wide + bends + [1 + r.uniform(-1, 1) / 2 ** 6, 1 - r.random() / 2 ** 30, 1 + r.random() / 2 ** 30] ]


def real(f, x):
    try:
        y = f(mpf(x))
    except (ValueError, ZeroDivisionError):
        return None
    if isinstance(y, mpf) and not isnan(y) and not isinf(y):
        return float(y)
    return None


table = {}
for seed, (name, (f, slope)) in enumerate(functions.items()):
    # Beyond, the decimals of the exponential of a large number alone would fill the memory.
    small = 1e4 if name not in ('log', 'log1p', 'log2', 'log10', 'sqrt', 'rsqrt', 'cbrt', 'reciprocal', 'sin', 'cos', 'tan', 'asin', 'acos', 'atan', 'asinh', 'acosh', 'atanh') else float('inf')
    rows = [(x, real(f, x), real(slope, x)) for x in points(seed) if abs(x) < small]
    table[name] = [[x, y, d] for x, y, d in rows if y is not None and d is not None and abs(y) < float('inf') and abs(d) < float('inf')]

print('{')
print(',\n'.join(f'{json.dumps(n)}: [\n' + ',\n'.join(f'  {json.dumps(r)}' for r in rows) + '\n]' for n, rows in table.items()))
print('}')
