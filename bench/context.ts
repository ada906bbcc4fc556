/** Attention over 131,072 places, causal, forward and back, split over eight virtual devices: the numbers of attention in blocks on one device, and what a device holds. Minutes a form. */
import { compile, dims, expectDims, input, loose, mesh, openBackend, vjp, type Backend } from '../src/engine/index.ts'
import { attention, seeing, type Context } from '../src/nn/index.ts'
import type { T } from '../test/graph/support.ts'
import { draw } from '../test/support/values.ts'
import { row, type Row, type Section } from './measure.ts'

const [places, devices, headDim, block] = [131_072, 8, 16, 512]
const MiB = 2 ** 20
interface Form { readonly name: string; readonly context?: Context; readonly heads: number; readonly layout: object; readonly layouts?: object }
const ring = { seq: 'line' }
const forms: readonly Form[] = [
  { name: 'ring', context: { form: 'ring', blocks: devices }, heads: 1, layout: ring },
  { name: 'zigzag', context: { form: 'zigzag', blocks: devices }, heads: 1, layout: ring },
  { name: 'Ulysses', context: { form: 'ulysses' }, heads: devices, layout: ring, layouts: { attention: { seq: [], heads: 'line' } } },
]

function programOf({ context, heads }: Form) {
  const d = dims({ batch: 1, seq: places, kvSeq: places, heads, headDim })
  const shape = [d.batch, d.seq, d.heads, d.headDim] as const
  const inputs = { q: input('q', shape), k: input('k', shape), v: input('v', shape), g: input('g', shape) }
  const seen = seeing(d.seq, context === undefined ? d.kvSeq : d.seq)
  const attended = ({ q, k, v }: { readonly q: T; readonly k: T; readonly v: T }): T => {
    const [key, value] = context === undefined ? [k.rename('seq', 'kvSeq'), v.rename('seq', 'kvSeq')] : [k, v]
    return loose(expectDims(attention(q, key, value, { headDim: 'headDim' as string, kvSeq: seen.kvSeq.name }, { visible: seen, block, ...(context === undefined ? {} : { context }) }), shape))
  }
  const step = ({ q, k, v, g }: typeof inputs) => {
    const { value, pull } = vjp(attended)({ q: loose(q), k: loose(k), v: loose(v) })
    return { value, ...pull(loose(g))[0] as { readonly q: T; readonly k: T; readonly v: T } }
  }
  return { d, inputs, step }
}

/** Rows of `width` numbers, those of place `from(i)` at i. */
const moved = (x: Float32Array, width: number, from: (i: number) => number): Float32Array =>
  Float32Array.from({ length: x.length }, (_, k) => x[from(Math.floor(k / width)) * width + k % width] ?? NaN)
/** The place that stands at i in zigzag. */
const half = places / (2 * devices)
const placeAt = (i: number): number => { const [lane, late] = [Math.floor(i / (2 * half)), Math.floor(i / half) % 2]; return (late === 1 ? 2 * devices - 1 - lane : lane) * half + i % half }
/** The first of several heads. */
const firstOf = (x: Float32Array, heads: number): Float32Array => Float32Array.from({ length: x.length / heads }, (_, k) => x[Math.floor(k / headDim) * heads * headDim + k % headDim] ?? NaN)

interface Measured { readonly values: readonly Float32Array[]; readonly bytes: number; readonly ms: number }
async function measured(form: Form, on: number, data: readonly Float32Array[], backend: Backend): Promise<Measured> {
  const { d, inputs, step } = programOf(form)
  const program = await compile(step, [inputs], { mesh: mesh(on === 1 ? {} as { line: number } : { line: on }), layout: form.layout, layouts: form.layouts as never, dims: d, backend })
  const width = form.heads * headDim
  const [back, zigzag] = [new Map(Array.from({ length: places }, (_, i) => [placeAt(i), i])), form.context?.form === 'zigzag']
  const [q, k, v, g] = (form.heads === 1 ? data.map(x => firstOf(x, devices)) : data).map(x => (zigzag ? moved(x, width, placeAt) : x))
  const began = performance.now()
  const found = await program({ q, k, v, g } as never)
  const values = await Promise.all([found.value, found.q, found.k, found.v].map(async x => Float32Array.from(await x.read() as Float32Array)))
  const ms = performance.now() - began
  const inOrder = values.map(x => firstOf(zigzag ? moved(x, width, i => back.get(i) ?? 0) : x, form.heads))
  return { values: inOrder, bytes: (program.memory?.arguments ?? NaN) + (program.memory?.temporaries ?? NaN), ms }
}

export async function contextSection(_rounds: number, say: (line: string) => void): Promise<Section> {
  const data = [0, 1, 2, 3].map(seed => Float32Array.from({ length: places * devices * headDim }, (_, i) => 2 * draw(seed, i) - 1))
  const backend = await openBackend({ plugin: 'cpu', devices, cache: false })
  try {
    const alone = await measured({ name: 'one device', heads: 1, layout: {} }, 1, data, backend)
    say(`one device: ${(alone.ms / 1000).toFixed(0)} s`)
    const rows: Row[] = [row('one head on one device, in blocks', alone.ms, 'ms'), row('held by it', alone.bytes / MiB, 'MiB')]
    for (const form of forms) {
      const found = await measured(form, devices, data, backend)
      say(`${form.name}: ${(found.ms / 1000).toFixed(0)} s`)
      const error = Math.max(...found.values.map((x, k) => { const exact = alone.values[k] ?? x; return Math.max(...chunks(x.map((n, i) => Math.abs(n - (exact[i] ?? NaN))))) / Math.max(...chunks(exact.map(Math.abs))) }))
      // Queries, keys, values, the cotangent, results and what is made on the way are of as many numbers as one head on one device has: of all heads an eighth.
      rows.push(row(`${form.name}, ${form.heads} head${form.heads === 1 ? '' : 's'}`, found.ms, 'ms'), row(`${form.name}: largest difference, of the largest number`, error, '', 1e-5), row(`${form.name}: held by each device`, found.bytes / form.heads / MiB, 'MiB', alone.bytes / MiB / 2))
    }
    return { name: 'context', notes: [`${places} places, ${headDim} numbers a head, ${devices} virtual devices`, 'held by each device: for one head'], rows }
  } finally {
    await backend.close()
  }
}
/** The largest of some numbers at a time: a call takes only so many. */
const chunks = (x: Float32Array): number[] => Array.from({ length: Math.ceil(x.length / 8192) }, (_, i) => Math.max(...x.subarray(8192 * i, 8192 * (i + 1))))
