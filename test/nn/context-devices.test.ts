/** Attention along split sequences on devices: the collectives of the closed forms and no others, as much memory as a part needs, an even share of work, and errors that name a rule. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, dims, expectDims, input, loose, mesh as meshOf, openBackend, plan, vjp, type Backend } from '../../src/engine/index.ts'
import { localFlops } from '../../src/cost/flops.ts'
import { gpt, type GptConfig } from '../../src/models/index.ts'
import { attention, crossAttention, seeing, type AttentionOptions, type Context, type HeadWeights } from '../../src/nn/index.ts'
import { stateOf, trainStep } from '../../src/train/program.ts'
import { optimizerOf } from '../../src/train/run.ts'
import recipe from '../../recipes/gpt-tiny.ts'
import { leafValues, type T } from '../graph/support.ts'
import { all } from '../support/depth.ts'
import { draw, relativeError } from '../support/values.ts'

type Sizes = { readonly batch: number; readonly seq: number; readonly kvHeads: number; readonly group: number; readonly headDim: number }
type Where = { readonly mesh: { readonly [axis: string]: number }; readonly layout: { readonly [dim: string]: string | readonly string[] }; readonly attention?: { readonly [dim: string]: string | readonly string[] } }
/** Queries, keys and values with their cotangent, and what is computed of them. */
function layerOf(sizes: Sizes, context: Context | undefined, options: AttentionOptions<string> = {}, dtype: 'f32' | 'bf16' = 'f32') {
  const d = dims({ ...sizes, kvSeq: sizes.seq })
  const shape = [d.batch, d.seq, d.kvHeads, d.group, d.headDim] as const
  const shared = [d.batch, d.seq, d.kvHeads, d.headDim] as const
  const inputs = { q: input('q', shape, dtype), k: input('k', shared, dtype), v: input('v', shared, dtype), g: input('g', shape, dtype), segments: input('segments', [d.batch, d.seq], 'i32') }
  const attended = ({ q, k, v }: { readonly q: T; readonly k: T; readonly v: T }, segments?: T): T => {
    const seen = seeing(d.seq, context === undefined ? d.kvSeq : d.seq, segments === undefined ? {} : { segments } as never)
    const [key, value] = context === undefined ? [k.rename('seq', 'kvSeq'), v.rename('seq', 'kvSeq')] : [k, v]
    return loose(expectDims(attention(q, key, value, { headDim: 'headDim' as string, kvSeq: seen.kvSeq.name }, { visible: seen, ...(context === undefined ? {} : { context }), ...options }), shape))
  }
  const step = ({ q, k, v, g, segments }: typeof inputs, apart = false) => {
    const { value, pull } = vjp((x: { readonly q: T; readonly k: T; readonly v: T }) => attended(x, apart ? segments as T : undefined))({ q, k, v } as never)
    return { value, ...pull(g as T)[0] as { readonly q: T; readonly k: T; readonly v: T } }
  }
  return { d, inputs, step, attended }
}
const placed = ({ mesh, layout, attention }: Where) => ({ mesh: meshOf(mesh as { a: 1 }), layout: layout as { seq: 'a' }, ...(attention === undefined ? {} : { layouts: { attention } as object }) })
const rows = (found: readonly { readonly kind: string; readonly axes: readonly string[]; readonly count: number; readonly elements: number }[]): string[] => {
  const counts = new Map<string, number>()
  for (const c of found) counts.set(`${c.kind} along ${c.axes.join()} of ${c.elements}`, (counts.get(`${c.kind} along ${c.axes.join()} of ${c.elements}`) ?? 0) + c.count)
  return [...counts].map(([key, n]) => `${n} × ${key}`).sort()
}
const ringOf = (c: number): Where => ({ mesh: { ring: c }, layout: { seq: 'ring' } })

describe('what one layer moves, there and back, is what it must', () => {
  const cases: readonly (readonly [string, Context, Where, (q: number, kv: number) => readonly string[]])[] = [
    // Keys and values go round, and once more as one, their gradients once: 6 · (c − 1) parts.
    ...[2, 4].flatMap(c => (['ring', 'zigzag'] as const).map(form => [`${form} of ${c}`, { form, blocks: c }, ringOf(c), (_: number, kv: number) => [`${c - 1} × permute along ring of ${2 * kv / c}`, `${4 * (c - 1)} × permute along ring of ${kv / c}`]] as const)),
    // Of twice as many blocks as devices only those at an edge travel.
    ['a ring of 4 blocks on 2 devices', { form: 'ring', blocks: 4 }, ringOf(2), (_, kv) => [`3 × permute along ring of ${kv / 2}`, `12 × permute along ring of ${kv / 4}`]],
    // Keys and values are gathered, and once more, as one; their gradients scattered.
    ['gathered by 4', { form: 'gather', blocks: 4 }, ringOf(4), (_, kv) => [`1 × all-gather along ring of ${kv / 2}`, `2 × all-gather along ring of ${kv / 4}`, `2 × reduce-scatter along ring of ${kv}`]],
    // Queries, keys, values and the result are exchanged; so are their gradients.
    ['Ulysses over 4', { form: 'ulysses' }, { mesh: { heads: 4 }, layout: { seq: 'heads' }, attention: { seq: [], kvHeads: 'heads' } }, (q, kv) => [`4 × all-to-all along heads of ${kv / 4}`, `4 × all-to-all along heads of ${q / 4}`]],
    ['zigzag of 2 with Ulysses over 2', { form: 'zigzag', blocks: 2 }, { mesh: { ring: 2, heads: 2 }, layout: { seq: ['ring', 'heads'] }, attention: { seq: 'ring', kvHeads: 'heads' } },
      (q, kv) => [`4 × all-to-all along heads of ${kv / 4}`, `4 × all-to-all along heads of ${q / 4}`, `1 × permute along ring of ${kv / 2}`, `4 × permute along ring of ${kv / 4}`]],
  ]
  test.each(cases)('%s', (_, context, where, expected) => {
    const { d, inputs, step } = layerOf({ batch: 2, seq: 512, kvHeads: 4, group: 2, headDim: 8 }, context, { block: 64 })
    const kv = 2 * 512 * 4 * 8
    expect(rows(plan(step, [inputs], { ...placed(where), dims: d }).collectives)).toEqual([...expected(2 * kv, kv)].sort())
  })
  test.each([
    ['ring', { form: 'ring', blocks: 2 }, { seq: 'ring' }, undefined, ['1 × permute along ring of 32768', '4 × permute along ring of 16384']], ['ulysses', { form: 'ulysses' }, { seq: 'ring' }, { seq: [], heads: 'ring' }, ['8 × all-to-all along ring of 16384']],
  ] as const)('in a GPT that computes its layers again nothing travels again: %s', (_, context, layout, attention, expected) => {
    const model = gpt<GptConfig>({ vocab: 64, seq: 512, layers: 3, embed: 32, heads: 4, headDim: 8, hidden: 32, dropout: 0, context, blockwise: 128 }, 2)
    const optimizer = optimizerOf({ ...recipe, steps: 9 })
    const { collectives } = plan(trainStep(model, { seed: 0, remat: 'all-but-contractions', optimizer }), [stateOf(model, { optimizer }), model.batch] as const, {
      mesh: meshOf({ ring: 2 }), layout, ...(attention === undefined ? {} : { layouts: { attention } as object }), uses: model.layouts, dims: model.dims,
    })
    expect(rows(collectives.filter(c => c.kind !== 'all-reduce'))).toEqual(expected.map(row => row.replace(/^\d+/, n => String(3 * Number(n)))).sort())
  })
})

test('zigzag shares a causal mask evenly: of what a device computes 85 % is seen and more, where a ring computes twice what is seen', () => {
  const products = (context: Context, blocks: number): number => {
    const { d, inputs, attended } = layerOf({ batch: 1, seq: 512, kvHeads: 1, group: 1, headDim: 1 }, context, { block: 512 / blocks })
    // On one device; two contractions of two operations for each pair of places.
    return localFlops(plan((x: typeof inputs) => attended(x as never), [inputs], { ...placed(ringOf(blocks)), dims: d }).local) / 4
  }
  for (const c of [4, 8, 16]) {
    const seen = 512 * 513 / 2 / c
    expect(seen / products({ form: 'zigzag', blocks: c }, c)).toBeGreaterThan(0.85)
    expect(seen / products({ form: 'ring', blocks: c }, c)).toBeLessThan(0.6)
  }
})

describe('numbers', () => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
  afterAll(async () => { await backend.close() })
  const sizes = { batch: 1, seq: 32, kvHeads: 1, group: 2, headDim: 4 }
  const drawn = (seed: number, n: number, scale = 1): Float32Array => Float32Array.from({ length: n }, (_, i) => Math.fround(scale * (2 * draw(seed, i) - 1)))
  const numbers = (scale = 1) => ({ q: drawn(1, 256, scale), k: drawn(2, 128, scale), v: drawn(3, 128), g: drawn(4, 256), segments: Int32Array.from({ length: 32 }, (_, i) => Math.floor(i / 7)) })
  const run = async (context: Context | undefined, of: object, where: Where = { mesh: {}, layout: {} }, dtype: 'f32' | 'bf16' = 'f32', apart = false, shape: Sizes = sizes): Promise<readonly (readonly number[])[]> => {
    const { d, inputs, step } = layerOf(shape, context, {}, dtype)
    const program = await compile((x: typeof inputs) => step(x, apart), [inputs], { ...placed(where), backend, dims: d })
    const found = await program(of as never)
    return Promise.all([found.value, found.q, found.k, found.v].map(async x => Array.from(await x.read(), Number)))
  }
  test.each(['f32', 'bf16'] as const)('a ring of 16 is as exact as one of 1, in %s', async dtype => {
    const long = { batch: 1, seq: 256, kvHeads: 1, group: 1, headDim: 4 }
    const of = { q: drawn(1, 1024, 2), k: drawn(2, 1024, 2), v: drawn(3, 1024), g: drawn(4, 1024), segments: new Int32Array(256) }
    const half = (x: Float32Array): Float32Array => (dtype === 'f32' ? x : x.map(v => { const bits = new Uint32Array(Float32Array.of(v).buffer); bits[0] = ((bits[0] ?? 0) & 0xffff0000) >>> 0; return new Float32Array(bits.buffer)[0] ?? 0 }))
    const rounded = { ...of, q: half(of.q), k: half(of.k), v: half(of.v), g: half(of.g) }
    const { inputs, step } = layerOf(long, undefined)
    const operands = Object.entries(inputs).map(([name, tensor]) => ({ tensor: tensor as T, data: rounded[name as 'q'] }))
    // The reference computes in f64.
    const exact = leafValues(Object.values(step(inputs)), ...operands)
    const [one, sixteen] = [await run({ form: 'ring', blocks: 1 }, rounded, undefined, dtype, false, long), await run({ form: 'ring', blocks: 16 }, rounded, undefined, dtype, false, long)]
    const norm = (x: readonly number[]): number => Math.hypot(...x)
    const error = (found: readonly (readonly number[])[]): number => Math.max(...found.map((x, i) => norm(x.map((v, k) => v - (exact[i]?.[k] ?? 0))) / norm(exact[i] ?? [])))
    expect(error(sixteen)).toBeLessThan(1.2 * error(one))
  })
  test('scores of ±10 000 stay finite, and are those of plain attention', async () => {
    const of = numbers(100)
    const plain = await run(undefined, of)
    for (const context of [{ form: 'ring', blocks: 4 }, { form: 'gather', blocks: 4 }] as const) {
      const found = await run(context, of, ringOf(4))
      expect(found.flat().every(Number.isFinite)).toBe(true)
      found.forEach((x, i) => { expect(relativeError(x, plain[i] ?? [])).toBeLessThan(0.05) })
    }
  })
  test.each(['ring', 'zigzag', 'gather'] as const)('by %s no bit of a document is changed by another, though it be infinite or NaN', async form => {
    const [context, where] = [{ form, blocks: 4 }, ringOf(4)] as const
    const calm = await run(context, numbers(), where, 'f32', true)
    for (const odd of [NaN, Infinity]) {
      // Places 7 to 13 are a document: 8 numbers of queries and cotangents a place, 4 of keys and values.
      const of = Object.fromEntries(Object.entries(numbers()).map(([name, x]) => [name, name === 'segments' ? x : (x as Float32Array).map((v, i) => { const at = Math.floor(i / (x.length / 32)); return at >= 7 && at < 14 && i % 3 === 0 ? odd : v })]))
      const found = await run(context, of, where, 'f32', true)
      const others = (x: readonly number[] | undefined): readonly number[] => (x ?? []).filter((_, i, { length }) => { const at = Math.floor(i / (length / 32)); return at < 7 || at >= 14 })
      found.forEach((x, i) => { expect(others(x), `${i}`).toEqual(others(calm[i])) })
      expect(found.flat().some(Number.isNaN)).toBe(true)
    }
  })
})

describe('memory', () => {
  test.each(all ? [['ring', {}], ['zigzag', {}], ['ulysses', { seq: [], kvHeads: 'ring' }]] as const : [['ring', {}]] as const)('by %s a device holds what its part needs: of four times the sequence on four times the devices as much', async (form, attention) => {
    const bytes = async (devices: number): Promise<number> => {
      const backend = await openBackend({ plugin: 'cpu', devices, cache: false })
      try {
        const { d, inputs, step } = layerOf({ batch: 1, seq: 512 * devices, kvHeads: 8, group: 1, headDim: 8 }, form === 'ulysses' ? { form } : { form, blocks: devices }, { block: 64 })
        const { memory } = await compile(step, [inputs], { ...placed({ ...ringOf(devices), ...(form === 'ulysses' ? { attention } : {}) }), backend, dims: d })
        return (memory?.arguments ?? NaN) + (memory?.temporaries ?? NaN)
      } finally {
        await backend.close()
      }
    }
    const [two, eight] = [await bytes(2), await bytes(8)]
    // A ring of two has no loop of turns, whose state a ring of more holds twice.
    expect(eight).toBeLessThan(1.6 * two)
  })
})

describe('refuses what it does not compute, and says what to change', () => {
  const told = (f: () => unknown): string => { try { f(); return 'nothing' } catch (e) { return e instanceof Error ? e.message : String(e) } }
  const base = { batch: 2, seq: 16, kvHeads: 2, group: 1, headDim: 4 }
  const made = (context: Context, options: AttentionOptions<string> = {}): string => told(() => { const { inputs, attended } = layerOf(base, context, options); attended(inputs as never) })
  test.each([
    ['a number of blocks that is none', () => made({ form: 'ring', blocks: 0 }), /context of form ring has blocks 0[^]*a multiple of as many devices/],
    ['blocks that do not divide the sequence', () => made({ form: 'gather', blocks: 3 }), /3 parts do not divide "seq" of size 16[^]*give a number of blocks that does/],
    ['halves that do not', () => made({ form: 'zigzag', blocks: 16 }), /32 parts do not divide "seq"[^]*of which twice as many do/],
    ['blocks of Ulysses', () => made({ form: 'ulysses', blocks: 2 } as never), /leave blocks out/],
    ['no form', () => made({ form: 'spiral', blocks: 2 } as never), /form "spiral"[^]*ring, zigzag, gather, ulysses/],
    ['a bias', () => made({ form: 'ring', blocks: 2 }, { bias: layerOf(base, undefined).inputs.q as T }), /a bias is given[^]*leave out the bias, or the context/],
    ['shares that are dropped', () => made({ form: 'ring', blocks: 2 }, { dropout: { key: [] as never, rate: 0.1 } }), /shares are to be dropped/],
    ['bools', () => told(() => { const { d, inputs: { q, k, v } } = layerOf(base, undefined); attention(q, k, v, { headDim: 'headDim', kvSeq: 'seq' } as never, { context: { form: 'ring', blocks: 2 }, visible: input('m', [d.seq], 'bool') as T }) }), /given as bools[^]*seeing\(seq, kvSeq/],
    ['zigzag that is not causal', () => told(() => { const { d, inputs: { q, k, v } } = layerOf(base, undefined); attention(q, k, v, { headDim: 'headDim', kvSeq: 'seq' } as never, { context: { form: 'zigzag', blocks: 2 }, visible: seeing(d.seq, d.seq, { causal: false }) }) }), /attention is not causal[^]*give form ring/],
    ['another sequence', () => told(() => { const { d, inputs: { q } } = layerOf(base, undefined); crossAttention(q as T, q as T, {} as HeadWeights<string, string, string>, { seq: d.seq, kvSeq: d.kvSeq, embed: d.headDim, heads: d.kvHeads, headDim: d.headDim } as never, { context: { form: 'ring', blocks: 2 } }) }), /crossAttention: context is given/],
  ])('%s', (_, f, message) => { expect(f()).toMatch(message) })

  const planned = (context: Context, where: Where): string => told(() => { const { d, inputs, step } = layerOf(base, context); plan(step, [inputs], { ...placed(where), dims: d }) })
  test.each([
    ['a sequence that is not whole', { form: 'ulysses' }, { mesh: { a: 2 }, layout: { seq: 'a' } }, /attention by ulysses: dim "seq" lies in 2 parts, and must be whole[^]*"seq" → a in layout "attention"[^]*layouts: \{ attention: \{ seq: \[\], heads: 'a' \} \}/],
    ['heads that the axis does not divide', { form: 'ulysses' }, { mesh: { a: 4 }, layout: { seq: 'a' }, attention: { seq: [], kvHeads: 'a' } }, /attention by ulysses: dim "kvHeads" of size 2 cannot be cut into 4 equal parts[^]*layout +attention[^]*kvHeads → a/],
    ['both on one axis', { form: 'ulysses' }, { mesh: { a: 2 }, layout: { seq: 'a' }, attention: { kvHeads: 'a' } }, /two dims lie on mesh axis "a"[^]*layout +attention/],
    ['more devices than blocks', { form: 'ring', blocks: 2 }, { mesh: { a: 4 }, layout: { seq: 'a' } }, /attention by ring: dim "seq" lies in 4 parts, which do not divide its 2 blocks[^]*as many blocks as a multiple of 4, or lay "seq" on a smaller axis/],
  ] as const)('%s', (_, context, where, message) => { expect(planned(context, where as Where)).toMatch(message) })
})
