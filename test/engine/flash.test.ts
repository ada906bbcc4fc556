/** Attention by calls of cuDNN's, which nothing here can run: in the place of each call a function of its meaning, written from the paper (Dao et al. 2022), which the interpreter computes. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { forCpu, type Lowering } from '../../src/core/platform.ts'
import { broadcast, dims, expectDims, iota, loose, mesh, openBackend, param, plan, remat, scan, valueAndGrad, where, input, type AnyTensor, type Plan, type Remat, type Scalar, type Tensor, type Tree } from '../../src/engine/index.ts'
import { attention, seeing } from '../../src/nn/index.ts'
import { draw } from '../support/values.ts'

type T = Tensor<string>
const cuda: Lowering = { platform: 'cuda', contractions: 'f32' }
const d = dims({ batch: 2, seq: 64, kvSeq: 64, heads: 2, headDim: 16, layers: 2 })
const own = { q: [d.batch, d.seq, d.heads, d.headDim], k: [d.batch, d.kvSeq, d.heads, d.headDim], v: [d.batch, d.kvSeq, d.heads, d.headDim] } as const
const one = { mesh: mesh({ m: 1 }), layout: {} }

/** A function of the name with the meaning that the program of `f` has. */
function functionOf(name: string, f: (...args: readonly T[]) => Tree, args: readonly AnyTensor[]): string {
  const { text } = plan(f as unknown as (...args: readonly Tree[]) => Tree, args, one)
  return text.split('\n').slice(1, -2).join('\n').replace('func.func public @main', `func.func private @${name}`)
}
const f32 = (x: T): T => loose(x.cast('f32'))
const ordered = (x: T, ...order: (typeof d)[keyof typeof d][]): T => loose(broadcast(x, order))
const scores = (q: T, k: T, causal: boolean): T => {
  const all = f32(q).dot(f32(k), d.headDim)
  return causal ? loose(where(loose(broadcast(iota(d.seq), [d.seq, d.kvSeq])).greaterEqual(loose(broadcast(iota(d.kvSeq), [d.seq, d.kvSeq]))), all, -1e9)) : all
}
const calls = (causal: boolean): string[] => {
  const bf16 = (name: string, shape: readonly (typeof d)[keyof typeof d][]): T => input(name, shape, 'bf16') as T
  const given = [bf16('q', own.q), bf16('k', own.k), bf16('v', own.v)]
  const forward = (q: T, k: T, v: T): Tree => {
    const s = scores(q, k, causal)
    const largest = s.max(d.kvSeq)
    const sums = loose(loose(s.sub(largest)).exp().sum(d.kvSeq).log()).add(largest)
    return { o: ordered(loose(s.sub(sums)).exp().dot(f32(v), d.kvSeq), d.batch, d.heads, d.seq, d.headDim).cast('bf16'), sums: ordered(loose(sums), d.batch, d.heads, d.seq) }
  }
  const backward = (q: T, k: T, v: T, sums: T, o: T, g: T): Tree => {
    const p = loose(scores(q, k, causal).sub(sums)).exp()
    const ds = p.mul(f32(g).dot(f32(v), d.headDim).sub(f32(g).mul(f32(o)).sum(d.headDim)))
    const back = (x: T, length: typeof d.seq | typeof d.kvSeq): T => loose(ordered(x, d.batch, d.heads, length, d.headDim).cast('bf16'))
    return [back(loose(ds.dot(f32(k), d.kvSeq)), d.seq), back(loose(ds.dot(f32(q), d.seq)), d.kvSeq), back(loose(p.dot(f32(g), d.seq)), d.kvSeq)]
  }
  return [functionOf('forward', (q, k, v) => forward(q as T, k as T, v as T), given),
    functionOf('backward', (q, k, v, sums, o, g) => backward(q as T, k as T, v as T, sums as T, o as T, g as T), [...given, input('sums', [d.batch, d.heads, d.seq]) as T, bf16('o', own.q), bf16('g', own.q)])]
}
/** The text with functions in the place of calls, and how many of each there were. */
function meant(text: string, causal: boolean): { readonly text: string; readonly forward: number; readonly backward: number } {
  let [forward, backward] = [0, 0]
  const replaced = text.replace(/:(\d) = "stablehlo\.custom_call"(\(.*?\)) <\{.*?call_target_name = "__cudnn\$fmhaSoftmax(Backward)?".*?\}> : (\(.*?\)) -> \((.*), tensor<0xui8>\)/g, (_, results: string, args: string, back: string | undefined, types: string, made: string) => {
    if (back === undefined) forward++
    else backward++
    // Alone it gives no statistics, and an empty array in their place.
    const alone = back === undefined && results === '2'
    return `:${alone ? 2 : Number(results) - 1} = "func.call"${args} <{callee = @${back === undefined ? 'forward' : 'backward'}}> : ${types} -> (${made}${alone ? ', tensor<2x2x64xf32>' : ''})`
  })
  return { text: replaced.replace(/^module @meshwork \{/, `module @meshwork {\n${calls(causal).join('\n')}`), forward, backward }
}

async function run(text: string, p: Plan): Promise<Float64Array[]> {
  await using backend = await openBackend({ plugin: 'simulate', devices: 1 })
  const program = await backend.compile({ text, devices: 1, donated: [] })
  const args = await Promise.all(p.inputs.map(({ placement: { shape, dtype } }, i) => {
    const size = shape.reduce((n, x) => n * x.size, 1)
    const bits = new Uint16Array(size)
    const view = new DataView(new ArrayBuffer(4))
    for (let k = 0; k < size; k++) { view.setFloat32(0, 2 * draw(i + 1, k) - 1); bits[k] = view.getUint16(0) }
    return backend.put(bits, { shape: shape.map(x => x.size), dtype }, 0)
  }))
  const [results = []] = await program.execute([args])
  return Promise.all(results.map(async r => {
    const read = await r.read()
    if (r.dtype !== 'bf16') return Float64Array.from(read, Number)
    const view = new DataView(new ArrayBuffer(4))
    return Float64Array.from(read as Uint16Array, b => { view.setUint16(0, b); return view.getFloat32(0) })
  }))
}
/** The largest difference, in parts of the largest number. */
const apart = (a: Float64Array, b: Float64Array): number => a.reduce((m, x, i) => Math.max(m, Math.abs(x - (b[i] ?? NaN))), 0) / a.reduce((m, x) => Math.max(m, Math.abs(x)), 0)

const attended = (q: T, k: T, v: T, causal: boolean): T => loose(attention<string, string, string, string, string>(q, k, v, { headDim: d.headDim, kvSeq: d.kvSeq }, causal ? { visible: seeing(d.seq, d.kvSeq, { causal: true }) } : {}))
const args = [param('q', own.q, { dtype: 'bf16' }) as T, param('k', own.k, { dtype: 'bf16' }) as T, param('v', own.v, { dtype: 'bf16' }) as T] as const
const planned = (lowering: Lowering, causal: boolean, policy?: Remat): Plan => {
  const f = (q: T, k: T, v: T): T => attended(q, k, v, causal)
  const again = policy === undefined ? f : remat(f, policy)
  return plan((q: T, k: T, v: T) => valueAndGrad((p: { q: T; k: T; v: T }): Scalar => expectDims(loose(f32(again(p.q, p.k, p.v)).square().sum()), []))({ q, k, v }), args, { ...one, lowering })
}

describe('attention of halves, written for a platform with a kernel of its own', () => {
  test.each<[string, boolean, Remat | undefined, number]>([['causal', true, undefined, 1], ['that sees all', false, undefined, 1], ['computed again', true, 'everything', 2]])('%s: forward and back are calls that mean the same', async (_, causal, policy, forwards) => {
    const [plain, fused] = [planned(forCpu, causal, policy), planned(cuda, causal, policy)]
    const { text, forward, backward } = meant(fused.text, causal)
    // What is computed again is so by a call.
    expect([forward, backward]).toEqual([forwards, 1])
    const [expected, found] = [await run(plain.text, plain), await run(text, fused)]
    expect(found).toHaveLength(4)
    found.forEach((values, i) => { expect(apart(expected[i] ?? values, values)).toBeLessThan(0.02) })
  })

  test('is composed where the kernel has none: f32, other masks, long heads, in a loop that keeps the shares', () => {
    expect(planned(forCpu, true).text).not.toContain('cudnn')
    const f = (q: T, k: T, v: T, rest: Parameters<typeof attention>[4]): T => loose(attention<string, string, string, string, string>(q, k, v, { headDim: d.headDim, kvSeq: d.kvSeq }, rest as object))
    const textOf = (dtype: 'f32' | 'bf16', rest: object): string => plan((q: T, k: T, v: T) => f(q, k, v, rest as Parameters<typeof attention>[4]), [input('q', own.q, dtype) as T, input('k', own.k, dtype) as T, input('v', own.v, dtype) as T] as const, { ...one, lowering: cuda }).text
    expect(textOf('bf16', {})).toContain('__cudnn$fmhaSoftmax"')
    expect(textOf('f32', {})).not.toContain('cudnn')
    expect(textOf('bf16', { softCap: 5 })).not.toContain('cudnn')
    expect(textOf('bf16', { visible: seeing(d.seq, d.kvSeq, { causal: true, window: 8 }) })).not.toContain('cudnn')
  })

  test('goes through loops over layers whose attention is computed again', () => {
    const layer = (x: T, w: T): T => {
      const keys = loose(x.mul(w)).rename(d.seq, d.kvSeq.name)
      return loose(broadcast(attended(x, keys, loose(keys.sin()), true), own.q))
    }
    const w = param('w', [d.layers, d.headDim], { dtype: 'bf16' }) as T
    const text = plan((x: T, w: T) => valueAndGrad((p: { w: T }): Scalar => expectDims(loose(f32(scan(d.layers, x, p.w, (x: T, w: T) => [layer(x, w), {}])[0]).sum()), []), { remat: 'everything' })({ w }), [input('x', own.q, 'bf16') as T, w] as const, { ...one, lowering: cuda }).text
    expect(text.match(/__cudnn\$fmhaSoftmaxBackward"/g)).toHaveLength(1)
    // In the loop forward, and again in the loop back.
    expect(text.match(/__cudnn\$fmhaSoftmax"/g)).toHaveLength(2)
  })

  // test/engine/cudnn-attention.json is what jaxlib 0.10.2 writes for `jax.nn.dot_product_attention(…, is_causal=True, implementation='cudnn')` on the platform cuda, alone and with its gradient.
  test('is called as JAX calls it', () => {
    const like = JSON.parse(readFileSync(new URL('cudnn-attention.json', import.meta.url), 'utf8')) as { readonly [of: string]: { readonly config: { readonly cudnn_fmha_backend_config: object }; readonly operands: string; readonly results: string; readonly types: string } }
    const e = dims({ batch: 2, seq: 128, kvSeq: 128, heads: 4, headDim: 64 })
    const given = [param('q', [e.batch, e.seq, e.heads, e.headDim], { dtype: 'bf16' }) as T, param('k', [e.batch, e.kvSeq, e.heads, e.headDim], { dtype: 'bf16' }) as T, param('v', [e.batch, e.kvSeq, e.heads, e.headDim], { dtype: 'bf16' }) as T] as const
    const f = (q: T, k: T, v: T): T => loose(attention<string, string, string, string, string>(q, k, v, { headDim: e.headDim, kvSeq: e.kvSeq }, { visible: seeing(e.seq, e.kvSeq, { causal: true }) }))
    const alone = plan(f, given, { ...one, lowering: cuda }).text
    const withGradient = plan((q: T, k: T, v: T) => valueAndGrad((p: { q: T; k: T; v: T }): Scalar => expectDims(loose(f32(f(p.q, p.k, p.v)).sum()), []))({ q, k, v }), given, { ...one, lowering: cuda }).text
    const calls = (text: string): object[] => [...text.matchAll(/backend_config = "(.*?)", call_target_name = "__cudnn\$fmhaSoftmax(?:Backward)?", (operand_layouts = .*?), (result_layouts = .*?)\}> : (.*?)(?: loc|$)/gm)]
      .map(([, config = '', operands, results, types]) => ({ config: JSON.parse(config.replaceAll('\\22', '"')) as object, operands, results, types }))
    // The query is scaled before it comes here.
    const unscaled = (of: string): object => ({ ...like[of], config: { ...like[of]?.config, cudnn_fmha_backend_config: { ...like[of]?.config.cudnn_fmha_backend_config, fmha_scale: 1 } } })
    expect(calls(alone)).toEqual([unscaled('inference')])
    expect(calls(withGradient)).toEqual([unscaled('forward'), unscaled('backward')])
  })
})
