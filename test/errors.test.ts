/** Errors: what their text says, that each has its code, and that they point at the user's own line. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { DataError, DimError, FileError, LayoutError, MeshworkError, PluginError, UsageError, type Site } from '../src/core/errors.ts'
import { nearest } from '../src/core/nearest.ts'
import {
  broadcast, compile, dim, dims, einsum, expectDims, full, grad, input, loose, mesh, openBackend, param, plan, scan, where, zipTrees,
  type Scalar, type Tensor,
} from '../src/engine/index.ts'
import { conv, layerNorm, maxPool, softmax } from '../src/nn/index.ts'

type T = Tensor<string>
const source = readFileSync(fileURLToPath(import.meta.url), 'utf8').split('\n')

/** What this file says at a site, from its column on. */
const textAt = (site: Site | undefined): string => {
  expect(site?.file).toBe('test/errors.test.ts')
  return (source[(site?.line ?? 0) - 1] ?? '').slice((site?.column ?? 0) - 1)
}
async function errorOf(f: () => unknown): Promise<MeshworkError> {
  try {
    await f()
  } catch (e) {
    if (e instanceof MeshworkError) return e
    throw e
  }
  throw new Error('nothing was thrown')
}
/** The message, its line in this file replaced by what stands there. */
const textOf = (e: MeshworkError): string => e.message.replace(/test\/errors\.test\.ts:\d+:\d+/, () => textAt(e.problem.at))

describe('text', () => {
  const at = { file: 'recipes/gpt.ts', line: 41, column: 12 }
  test('what failed, the operands, the fix, the place; labels in one column', () => {
    const e = new LayoutError({
      code: 'axis-used-twice', what: 'scores: two dims lie on mesh axis "model"', at, fix: 'drop one rule, or rename kvSeq before this op',
      details: { tensor: 'batch=8 heads=8 seq=128 kvSeq=128', rules: 'heads → model, kvSeq → model' },
    })
    expect(e.message).toBe([
      'LayoutError[axis-used-twice] scores: two dims lie on mesh axis "model"',
      '  tensor  batch=8 heads=8 seq=128 kvSeq=128',
      '  rules   heads → model, kvSeq → model',
      '  fix     drop one rule, or rename kvSeq before this op',
      '  at      recipes/gpt.ts:41:12',
    ].join('\n'))
  })
  test('what is not known is not said', () => {
    expect(new DimError({ code: 'x', what: 'y', at: undefined }).message).toBe('DimError[x] y')
    expect(new UsageError({ code: 'x', what: 'y', fix: 'z' }).message).toBe('UsageError[x] y\n  fix  z')
    expect(new UsageError({ code: 'x', what: 'y', at }).message).toBe('UsageError[x] y\n  at  recipes/gpt.ts:41:12')
  })
  test('each class has its name and exit code, its fields and its cause', () => {
    const cause = new Error('below')
    const made = [DimError, LayoutError, UsageError, DataError, PluginError, FileError].map(C => new C({ code: 'c', what: 'w', cause }))
    expect(made.map(e => [e.name, e.exitCode])).toEqual([['DimError', 2], ['LayoutError', 2], ['UsageError', 2], ['DataError', 1], ['PluginError', 1], ['FileError', 1]])
    for (const e of made) {
      expect(e).toBeInstanceOf(MeshworkError)
      expect([e.code, e.problem.what, e.cause]).toEqual(['c', 'w', cause])
      expect(e.stack).toContain(`${e.name}`)
    }
    expect('cause' in new DimError({ code: 'c', what: 'w' })).toBe(false)
  })
})

const { batch, seq, embed, hidden } = dims({ batch: 8, seq: 4, embed: 16, hidden: 32 })
const x = input('x', [batch, seq, embed]) as T
const up = param('up', [embed, hidden]) as T
const ids = input('ids', [batch, seq], 'i32') as T
const grid = mesh({ batch: 2 })

describe('the user\'s line', () => {
  test('dot over a dim that one side lacks', async () => {
    expect(textOf(await errorOf(() => x.dot(up, seq)))).toBe([
      'DimError[no-such-dim] dot: the tensor has no dim "seq"',
      '  tensor  embed=16 hidden=32',
      '  fix     there are: embed, hidden',
      '  at      dot(up, seq)))).toBe([',
    ].join('\n'))
  })
  test('add where neither side contains the other', async () => {
    expect(textOf(await errorOf(() => x.add(up)))).toBe([
      'DimError[no-broadcast] add: neither side contains the other',
      '  left   batch=8 seq=4 embed=16',
      '  right  embed=16 hidden=32',
      '  fix    broadcast one side to the dims of both, or rename a dim',
      '  at     add(up)))).toBe([',
    ].join('\n'))
  })
  test('a loss with dims', async () => {
    const loss = (p: { up: T }): Scalar => x.dot(p.up, embed).mean(seq) as unknown as Scalar
    const gradient = grad(loss)
    expect(textOf(await errorOf(() => gradient({ up })))).toBe([
      'DimError[loss-not-scalar] grad: the loss is not a scalar',
      '  loss  batch=8 hidden=32',
      '  fix   sum or mean over its dims',
      '  at    gradient({ up })))).toBe([',
    ].join('\n'))
  })
  test('inside a layer it is the line that calls the layer', async () => {
    expect(textAt((await errorOf(() => softmax(x, 'sqe'))).problem.at)).toMatch(/^softmax\(x, 'sqe'\)/)
    expect(textAt((await errorOf(() => layerNorm(x, embed, up as never, up as never))).problem.at)).toMatch(/^layerNorm\(x, embed/)
  })
  test('a layout error names the line of the op whose result cannot be laid out', async () => {
    const f = (x: T): T => x.dot(x.rename(batch, 'other'), embed, seq)
    const e = await errorOf(() => plan(f, [x], { mesh: grid, layout: { batch: 'batch', other: 'batch' } }))
    expect(textOf(e)).toBe([
      'LayoutError[axis-used-twice] dot: two dims lie on mesh axis "batch"',
      '  tensor  batch=8 other=8',
      '  mesh    batch=2',
      '  rules   batch → batch, other → batch',
      '  fix     drop the rule of "batch" or of "other", or rename one of them before this op',
      '  at      dot(x.rename(batch, \'other\'), embed, seq)',
    ].join('\n'))
  })
})

describe('every mistake has its code', () => {
  const program = (f: () => unknown) => f
  const other = input('y', [batch])
  const [image, taps] = [input('image', [batch, dim('seq', 2)]) as T, param('w', [dim('taps', 3)]) as T]
  const mistakes: { readonly [code: string]: readonly (readonly [what: string, f: () => unknown])[] } = {
    'dim-name': [['"a b" cannot name a dim', () => dim('a b', 1)], ['"" cannot name a dim', () => dim('', 1)], ['"2d" cannot name a dim', () => dims({ '2d': 1 })]],
    'dim-size': [['dim "a" has size 0', () => dim('a', 0)], ['dim "a" has size 1.5', () => dim('a', 1.5)], ['dim "a" has size NaN', () => dims({ a: NaN })]],
    'no-such-dim': [
      ['sum: the tensor has no dim "sqe"', () => x.sum('sqe')],
      ['rename: the tensor has no dim "hidden"', () => x.rename(hidden, 'h')],
      ['conv: the tensor has no dim "hidden"', () => conv(image, taps, { windows: [{ dim: 'hidden', kernel: 'taps' }] })],
      ['take: the tensor has no dim "hidden"', () => x.take(hidden, ids)],
      ['einsum: the tensor has no dim "other"', () => einsum([x, up], ['other'])],
    ],
    'dim-twice': [
      ['rename: the result would have dim "batch" twice', () => x.rename(seq, 'batch' as never)],
      ['conv: the result would have dim "batch" twice', () => conv(image, taps, { windows: [{ dim: 'seq', kernel: 'taps', padding: 1, as: 'batch' }] })],
      ['conv: two windows have the dim "seq"', () => conv(image, taps, { windows: [{ dim: 'seq', kernel: 'taps' }, { dim: 'seq', kernel: 'taps' }] })],
      ['broadcast: the result would have dim "seq" twice', () => full(1, [seq, seq] as never)],
    ],
    'size-differs': [
      ['dot: dim "embed" has two sizes', () => x.dot(input('w', [dim('embed', 8)]) as T, 'embed')],
      ['add: dim "batch" has two sizes', () => x.add(input('w', [dim('batch', 4)]))],
    ],
    'dtype-differs': [['add: operands of different dtypes', () => x.add(ids)], ['dot: operands of different dtypes', () => x.dot(up.cast('bf16'), embed)]],
    dtype: [
      ['exp: works on floats, not on i32', () => ids.exp()],
      ['abs: works on floats and signed integers, not on u32', () => ids.cast('u32').abs()],
      ['popcount: works on integers, not on bool', () => ids.cast('bool').popcount()],
      ['add: works on numbers, not on bool', () => ids.cast('bool').add(ids.cast('bool'))],
      ['shiftLeft: works on integers, not on bool', () => ids.cast('bool').shiftLeft(ids.cast('bool'))],
      ['shiftRightArithmetic: works on signed integers, not on u8', () => ids.cast('u8').shiftRightArithmetic(1)],
      ['and: works on booleans and integers, not on f32', () => x.and(x)],
      ['take: works on i32 indices, not on f32', () => up.take(hidden, x)],
      ['where: works on a bool predicate, not on f32', () => where(x, x, 0)],
    ],
    'no-broadcast': [['where: neither side contains the other', () => where(x.less(0), x, up)], ['compare: neither side contains the other', () => x.less(up)]],
    window: [
      ['conv along "seq": a window of 3 does not fit into 2 elements with padding 0 and 0', () => conv(image, taps, { windows: [{ dim: 'seq', kernel: 'taps' }] })],
      ['conv along "seq": stride is 0', () => conv(image, taps, { windows: [{ dim: 'seq', kernel: 'taps', stride: 0 }] })],
      ['conv along "seq": padding is 0.5', () => conv(image, taps, { windows: [{ dim: 'seq', kernel: 'taps', padding: 0.5 }] })],
      ['conv: there are no windows', () => conv(image, taps, { windows: [] })],
      ['maxPool along "seq": size is 1.5', () => maxPool(image, [{ dim: 'seq', size: 1.5 }])],
      ['maxPool along "seq": a window of 4 does not fit into 2 elements with padding 0 and 1', () => maxPool(image, [{ dim: 'seq', size: 4, padding: [0, 1] }])],
    ],
    'not-a-tensor': [['a list of 3 is given for a tensor', () => x.add([1, 2, 3] as never)], ['a Float32Array of 100000 is given for a tensor', () => where(new Float32Array(100_000) as never, x, x)]],
    'no-operands': [['einsum has no operands', () => einsum([], [])]],
    'unexpected-dims': [['the tensor has other dims than expected', () => expectDims(x, [batch])]],
    'carry-changes': [['scan over "seq": the carry changes its dims at its only leaf', () => scan(seq, other, {}, c => [loose(c).sum() as never, {}])]],
    'tree-form': [['two trees of tensors have different forms', () => zipTrees<{ readonly [k: string]: T }>({ x }, { y: x }, l => l)]],
    'not-an-input': [['compile: argument 0 is computed, not given', program(() => plan((y: T) => y, [x.exp()], { mesh: grid, layout: {} }))]],
    'unbound-input': [['compile: the program uses "up", which is not among its arguments', () => plan((x: T) => x.dot(up, embed), [x], { mesh: grid, layout: {} })]],
  }
  test.each(Object.entries(mistakes).flatMap(([code, all]) => all.map(([what, f]) => [code, what, f] as const)))('%s: %s', async (code, what, f) => {
    const e = await errorOf(f)
    expect([e.name, e.code, e.problem.what]).toEqual(['DimError', code, what])
    if (e.problem.at !== undefined) expect(textAt(e.problem.at)).not.toBe('')
  })

  test('the nearest name is offered', async () => {
    expect((await errorOf(() => x.sum('sqe'))).problem.fix).toBe('did you mean "seq"? there are: batch, seq, embed')
    expect((await errorOf(() => broadcast(x, []).sum('EMBED'))).problem.fix).toBe('did you mean "embed"? there are: batch, seq, embed')
    expect(nearest('modle', ['batch', 'model'])).toBe('model')
    expect(nearest('zzzzzz', ['batch', 'model'])).toBeUndefined()
  })
})

describe('what a program is given', () => {
  test('arguments of another form, length, type or place are refused before anything runs', async () => {
    const backend = await openBackend({ plugin: 'simulate', devices: 2 })
    const y = input('y', [batch])
    const given = { mesh: grid, backend, layout: { batch: 'batch' } }
    const program = await compile((a: { y: typeof y }) => ({ y: a.y.add(1) }), [{ y }], given)
    const whole = await compile((a: typeof y) => a.neg(), [y], { ...given, layout: {}, dims: { batch } })
    const results = await whole(new Float32Array(8))
    const wrong = await Promise.all([
      () => program({} as never),
      () => program({ y: new Float32Array(7) }),
      () => program({ y: new Int32Array(8) }),
      () => program({ y: results }),
      () => results.item(),
      () => compile((a: typeof y) => a, [y], { ...given, mesh: mesh({ batch: 4 }) }),
    ].map(errorOf))
    expect(wrong.map(e => `${e.name}[${e.code}] ${e.problem.what}`)).toEqual([
      'DimError[argument-form] the arguments have another form than the program was compiled for',
      'DimError[element-count] argument 0.y: 7 elements given, 8 wanted',
      'DimError[dtype] argument 0.y: Int32Array given for f32',
      'DimError[placement] argument 0.y lies otherwise than the program expects',
      'DimError[not-scalar] item: the array has more than one element',
      'LayoutError[too-many-devices] the mesh batch=4 needs 4 devices, simulate has 2',
    ])
    results.dispose()
    expect(backend.liveBuffers()).toBe(0)
    await backend.close()
  })
})
