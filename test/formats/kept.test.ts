/** Weights of few bits that stay as a GGUF file has them: bit by bit what decoding gives, and so the same logits on every mesh, in the memory of their bits; whichever types lie side by side. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { keptForms, keptSource } from '../../src/checkpoint/kept.ts'
import { byPaths, loadInitial, openWeights } from '../../src/checkpoint/index.ts'
import { dtypes } from '../../src/core/dtype.ts'
import { f16Bits, numbersOf } from '../../src/core/half-precision.ts'
import { sizeOf } from '../../src/core/dim.ts'
import { treeOps } from '../../src/core/tree.ts'
import { compile, leavesOf, mesh as meshOf, MeshArray, openBackend, placementTrees, type Backend, type Layout, type Tree } from '../../src/engine/index.ts'
import { tensorTypes } from '../../src/formats/gguf/types.ts'
import { architectureNamed, llama, llamaModel } from '../../src/models/index.ts'
import { openKept } from '../../src/serve/kept.ts'
import { readPretrained } from '../../src/pretrained/pretrained.ts'
import { temporaryFolder } from '../data/temporary.ts'
import { relativeError } from '../support/values.ts'

const folder = temporaryFolder()
const sizes = { vocab: 32, seq: 8, layers: 2, embed: 256, heads: 4, kvHeads: 2, headDim: 64, hidden: 256 }
const [rows, kvRows] = [sizes.heads * sizes.headDim, sizes.kvHeads * sizes.headDim]

/** Bytes of a GGUF file: numbers of 64 bits are bigints, of 32 numbers, texts have their length before them. */
const bytesOf = (...parts: readonly (bigint | number | string | Uint8Array)[]): Buffer => Buffer.concat(parts.map(part => {
  if (part instanceof Uint8Array) return part
  if (typeof part === 'string') return Buffer.concat([bytesOf(BigInt(Buffer.byteLength(part))), Buffer.from(part)])
  const b = Buffer.alloc(typeof part === 'bigint' ? 8 : 4)
  if (typeof part === 'bigint') b.writeBigUInt64LE(part)
  else b.writeUInt32LE(part)
  return b
}))
const f32 = (x: number): Buffer => { const b = Buffer.alloc(4); b.writeFloatLE(x); return b }
let state = 7
const drawn = (n: number): number => { state = (Math.imul(state, 1664525) + 1013904223) >>> 0; return Math.floor(state / 2 ** 32 * n) }

/** Where the f16 of a block lie, and about how large weights of the type are where these are 1. */
const halves: { readonly [type: string]: readonly [at: readonly number[], size: number] } = { Q4_0: [[0], 4], Q4_1: [[0, 2], 8], Q5_0: [[0], 8], Q5_1: [[0, 2], 16], Q8_0: [[0], 60], Q4_K: [[0, 2], 240], Q5_K: [[0, 2], 480], Q6_K: [[208], 1000] }
function tensorBytes(type: string, elements: number): Buffer {
  if (type === 'F32') return Buffer.concat(Array.from({ length: elements }, () => f32(0.8 + drawn(1000) / 2500)))
  if (type === 'F16') return Buffer.from(Uint16Array.from({ length: elements }, () => f16Bits((drawn(1000) - 500) / 8192)).buffer)
  const [at, size] = halves[type] ?? [[], 1]
  const { elements: own, bytes } = [...tensorTypes.values()].find(t => t.name === type)!
  return Buffer.concat(Array.from({ length: elements / own }, () => {
    const block = Buffer.from(Array.from({ length: bytes }, () => drawn(256)))
    at.forEach((place, i) => { block.writeUInt16LE(f16Bits((i === 0 ? 1 : own === 256 ? 1 : -8) * (0.05 + drawn(100) / 1500) / size), place) })
    return block
  }))
}

/** Each parameter's tensors, whose types may be others from layer to layer. */
const types: { readonly [name: string]: readonly [type0: string, type1: string, shape: readonly number[]] } = {
  'attn_q.weight': ['Q5_K', 'Q5_K', [rows, sizes.embed]], 'attn_k.weight': ['Q4_1', 'Q4_0', [kvRows, sizes.embed]], 'attn_v.weight': ['Q4_K', 'Q6_K', [kvRows, sizes.embed]], 'attn_output.weight': ['Q5_1', 'Q5_0', [sizes.embed, rows]],
  'ffn_gate.weight': ['Q4_0', 'Q4_0', [sizes.hidden, sizes.embed]], 'ffn_up.weight': ['Q8_0', 'F16', [sizes.hidden, sizes.embed]], 'ffn_down.weight': ['Q4_K', 'Q4_1', [sizes.embed, sizes.hidden]],
  'attn_norm.weight': ['F32', 'F32', [sizes.embed]], 'ffn_norm.weight': ['F32', 'F32', [sizes.embed]],
}
function modelFile(): string {
  const u32 = (key: string, value: number): Buffer => bytesOf(`llama.${key}`, 4, value)
  const metadata = [
    bytesOf('general.architecture', 8, 'llama'), u32('context_length', 64), u32('embedding_length', sizes.embed), u32('block_count', sizes.layers), u32('feed_forward_length', sizes.hidden), u32('attention.head_count', sizes.heads),
    u32('attention.head_count_kv', sizes.kvHeads), u32('attention.key_length', sizes.headDim), u32('vocab_size', sizes.vocab), bytesOf('llama.attention.layer_norm_rms_epsilon', 6, f32(1e-5)),
  ]
  const tensors = [
    ['token_embd.weight', 'Q8_0', [sizes.vocab, sizes.embed]] as const, ['output.weight', 'Q6_K', [sizes.vocab, sizes.embed]] as const, ['output_norm.weight', 'F32', [sizes.embed]] as const,
    ...[0, 1].flatMap(layer => Object.entries(types).map(([name, [first, second, shape]]) => [`blk.${layer}.${name}`, layer === 0 ? first : second, shape] as const)),
  ]
  let offset = 0
  const datas: Buffer[] = []
  const entries = tensors.map(([name, type, shape]) => {
    const data = tensorBytes(type, shape.reduce((a, b) => a * b, 1))
    const entry = bytesOf(name, shape.length, ...shape.toReversed().map(BigInt), [...tensorTypes].find(([, t]) => t.name === type)![0], BigInt(offset))
    const padded = Buffer.alloc(Math.ceil(data.length / 32) * 32)
    data.copy(padded)
    datas.push(padded)
    offset += padded.length
    return entry
  })
  const head = Buffer.concat([Buffer.from('GGUF'), bytesOf(3, BigInt(tensors.length), BigInt(metadata.length)), ...metadata, ...entries])
  const start = Buffer.alloc(Math.ceil(head.length / 32) * 32)
  head.copy(start)
  return folder.file('kept.gguf', Buffer.concat([start, ...datas]))
}
const path = modelFile()
const config = llamaModel({ ...sizes }).config
const naming = architectureNamed({ model_type: 'llama' }).names(config as never)
const model = llama(config, 2)
const parameters = leavesOf(model.params).map(l => ({ path: l.path, value: l.leaf }))

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
afterAll(() => backend.close())

test('forms fit all layers of a parameter: four bits where all have four, offsets where one has, and whole where one is', async () => {
  await using source = await openWeights(path)
  const forms = keptForms(source, naming, parameters.filter(p => !p.path.toLowerCase().includes('norm')))
  expect(Object.fromEntries(forms)).toEqual({
    tokens: { bits: 8, group: 32, scales: 'f16', offsets: false }, head: { bits: 8, group: 16, scales: 'f32', offsets: false },
    'blocks.query': { bits: 8, group: 32, scales: 'f32', offsets: true }, 'blocks.key': { bits: 4, group: 32, scales: 'f16', offsets: true }, 'blocks.value': { bits: 8, group: 16, scales: 'f32', offsets: true },
    'blocks.out': { bits: 8, group: 32, scales: 'f16', offsets: true }, 'blocks.gate': { bits: 4, group: 32, scales: 'f16', offsets: false }, 'blocks.down': { bits: 4, group: 32, scales: 'f32', offsets: true },
  })
})

test('numbers, scales and offsets are bit by bit the decoded weights', async () => {
  await using source = await openWeights(path)
  const forms = keptForms(source, naming, parameters.filter(p => !p.path.toLowerCase().includes('norm')))
  const [kept, whole] = [await keptSource(source, naming, parameters, forms), await byPaths(source, naming, parameters, { missing: true, unexpected: true })]
  const read = async (name: string, from = whole): Promise<Float32Array> => {
    const { dtype = 'f32', shape, read: into } = from.tensors.get(name)!
    const bytes = new Uint8Array(shape.reduce((n, s) => n * s, 1) * dtypes[dtype].bytes)
    await into(bytes, 0)
    return Float32Array.from(numbersOf(dtypes[dtype].view(bytes.buffer, 0, bytes.length / dtypes[dtype].bytes), dtype) as Float32Array)
  }
  for (const [name, { bits, group, offsets }] of forms) {
    const [values, scale, offset] = [await read(`${name}.values`, kept), await read(`${name}.scale`, kept), offsets ? await read(`${name}.offset`, kept) : undefined]
    const numbers = bits === 8 ? values : Float32Array.from([...values].flatMap(pair => [pair & 15, pair >> 4].map(n => (offsets ? n : n - 8))))
    const found = numbers.map((n, i) => Math.fround(n * (scale[Math.floor(i / group)] ?? NaN)) + (offset?.[Math.floor(i / group)] ?? 0))
    expect(Buffer.compare(Buffer.from(found.map(x => x + 0).buffer), Buffer.from((await read(name)).map(x => x + 0).buffer)), name).toBe(0)
  }
})

test.each([[{ batch: 1, model: 1 }, {}], [{ batch: 2, model: 2 }, { batch: 'batch', kvHeads: 'model', hidden: 'model', vocab: 'model' }]] as const)('logits on %j are those of whole weights, in less than half of the memory', async (axes, layout: Layout) => {
  const mesh = meshOf(axes)
  const where = { mesh, layout, backend, dims: model.dims, uses: { residual: 'compute' } } as const
  const logits = (params: Tree, tokens: typeof model.batch.tokens) => model.logits(params as never, { tokens })
  const tokens = Int32Array.from({ length: 16 }, (_, i) => (5 * i * i + i) % sizes.vocab)
  const whole = await compile(logits, [model.params as Tree, model.batch.tokens] as const, where)
  const wanted = placementTrees.flatten(whole.placements[0]).map(({ path: name, leaf }) => ({ path: name, value: leaf }))
  const { arrays, missing } = await loadInitial(path, wanted, {}, backend, mesh, naming)
  expect(missing).toEqual([])
  await using kept = await openKept(path, model as never, naming)
  const few = await compile(logits, [kept.params, model.batch.tokens] as const, where)
  const held = await kept.load<Tree>(few.placements[0], backend, mesh)
  const expected = await (await whole(placementTrees.rebuild(whole.placements[0], wanted.map(w => arrays.get(w.path))) as never, tokens)).read()
  const found = await (await few(held as never, tokens)).read()
  expect(expected.some(x => Math.abs(Number(x)) > 0.1)).toBe(true)
  expect(relativeError(Array.from(found, Number), Array.from(expected, Number))).toBeLessThan(1e-6)
  const size = (leaves: readonly MeshArray[]): number => leaves.reduce((n, a) => n + sizeOf(a.shape) * dtypes[a.dtype].bytes, 0)
  const small = treeOps((x): x is MeshArray => x instanceof MeshArray, 'an array').flatten(held).map(l => l.leaf)
  expect(size(small) / size([...arrays.values()])).toBeLessThan(0.45)
  expect(small.map(a => a.dtype)).toContain('u8')
})

test('a file without weights of few bits is refused, and a GGUF file is a model as a folder is', async () => {
  const plain = new URL('fixtures/models/llama.gguf', import.meta.url).pathname
  const { config: theirs, architecture, tokenizer, positions } = await readPretrained(plain)
  expect([theirs['model_type'], tokenizer, positions]).toEqual(['llama', undefined, 64])
  const own = (architecture.kind as unknown as typeof llamaModel)(architecture.fromConfig(theirs, { seq: 4 }) as never)
  await expect(openKept(plain, own.build({ batch: 1 }) as never, architecture.names(own.config as never))).rejects.toThrow(/no weights of few bits that could stay so/)
})
