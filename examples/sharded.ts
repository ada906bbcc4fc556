// Where parameters, slots and sums of gradients rest: one net by data parallel, ZeRO-1, ZeRO-2, ZeRO-3 (FSDP) and replicas of shards, each on four devices. All compute what one device does.
// A rule or two say what rests in parts; what a device holds and what it sends follow from them.
import { accumulate, compile, dims, initialise, initialisers, input, keyOf, mapTree, mesh, openBackend, param, scan, totals, valueAndGrad, type Layouts, type MeshArray, type Scalar, type Tensor } from 'meshwork'
import { adamw, applyUpdates } from 'meshwork/optim'

const d = dims({ batch: 512, embed: 64, hidden: 128, layers: 4 })
const params = {
  up: param('up', [d.layers, d.embed, d.hidden], { init: initialisers.heNormal([d.embed]) }),
  down: param('down', [d.layers, d.hidden, d.embed], { init: initialisers.normal(0.05) }),
}
const batch = { x: input('x', [d.batch, d.embed]), wanted: input('wanted', [d.batch, d.embed]) }
type Rows = Tensor<'batch' | 'embed'>

const loss = (p: typeof params, { x, wanted }: typeof batch): Scalar => {
  const [out] = scan(d.layers, x, p, (x: Rows, w) => [x.add(x.dot(w.up, d.embed).relu().dot(w.down, d.hidden)), {}] as const)
  return out.sub(wanted).square().mean()
}
const optimizer = adamw({ rate: 1e-2 })
const state = { params, slots: optimizer.slots(params), step: input('step', [], 'i32') }
const begin = (seed: Scalar): typeof state => {
  const first = mapTree(initialise(params, keyOf(seed)), p => p.relayout('params'))
  return { params: first, slots: mapTree(optimizer.init(first), s => s.relayout('state')), step: seed.mul(0) }
}
/** The batch in as many parts: gradients are summed where `gradients` has them rest. */
const step = (microbatches: number) => (now: typeof state, b: typeof batch) => {
  const { value, grads } = accumulate((p: typeof params, part: typeof batch) => valueAndGrad((q: typeof params) => loss(q, part))(p), now.params, b, d.batch, microbatches)
  const { updates, slots } = optimizer.update(grads, now.slots, now.params, now.step)
  return { loss: value, state: { params: applyUpdates(now.params, updates), slots, step: now.step.add(1) } }
}

interface Form extends Layouts { readonly mesh: { readonly [axis: string]: number }; readonly microbatches?: number }
const data = { mesh: { data: 4 }, layout: { batch: 'data' } } as const
const forms: { readonly [name: string]: Form } = {
  'one device': { mesh: {}, layout: {} },
  'data parallel': data,
  'ZeRO-1': { ...data, state: { embed: 'data' } },
  'ZeRO-2': { ...data, state: { embed: 'data' }, gradients: { from: 'state' }, microbatches: 2 },
  'ZeRO-3, FSDP': { ...data, params: { embed: 'data' } },
  'replicas of shards': { mesh: { replica: 2, shard: 2 }, layout: { batch: ['replica', 'shard'] }, params: { embed: 'shard' } },
}

const backend = await openBackend({ devices: 4 })
const given = { x: Float32Array.from({ length: 512 * 64 }, (_, i) => Math.sin(i * i)), wanted: Float32Array.from({ length: 512 * 64 }, (_, i) => Math.cos(i * i) / 2) }
let alone: readonly number[] = []
for (const [name, { mesh: axes, microbatches = 1, ...layouts }] of Object.entries(forms)) {
  const where = { mesh: mesh(axes), ...layouts, dims: d, backend }
  const first = await compile(begin, [input('seed', [], 'i32')], where)
  const train = await compile(step(microbatches), [state, batch], { ...where, donate: [0] })
  let now = await first(1)
  const held = (tree: object): number => ('pieces' in tree ? 4 * ([...(tree as MeshArray).pieces.values()][0]?.shape.reduce((a, b) => a * b, 1) ?? 0) : Object.values(tree).reduce((sum: number, part) => sum + held(part as object), 0))
  console.log(`${name}: a device holds ${held(now.params)} bytes of parameters and ${held(now.slots)} of slots`)
  for (const c of totals(train.collectives)) console.log(`  ${c.count} × ${c.kind} along ${c.axes.join(', ')}, ${c.bytes} bytes`)
  const losses: number[] = []
  for (let i = 0; i < 10; i++) {
    const { loss: found, state: next } = await train(now, given)
    now = next
    losses.push(await found.item())
  }
  console.log(`  loss ${losses[0]?.toFixed(5)} to ${losses.at(-1)?.toFixed(5)}`)
  if (alone.length === 0) alone = losses
  if (alone.some((loss, i) => !(Math.abs(loss - (losses[i] ?? NaN)) <= 1e-4 * loss))) throw new Error('the form has changed the numbers')
}
await backend.close()
