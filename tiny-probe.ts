import { mesh } from './src/core/mesh.ts'
import { treeOps } from './src/core/tree.ts'
import { compile, input, MeshArray, openBackend } from './src/engine/index.ts'
import { gpt } from './src/models/gpt.ts'
import { initialise, stateOf, trainStep } from './src/train/program.ts'
import { optimizer } from './bench/task.ts'
const [b = 1, m = 1, n = 300] = process.argv.slice(2).map(Number)
const config = { vocab: 512, seq: 32, layers: 2, embed: 32, heads: 2, headDim: 16, hidden: 128, dropout: 0 }
const model = gpt(config, 4)
const backend = await openBackend({ devices: b * m, cache: false })
const layout = { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' } as const
const where = { mesh: mesh({ batch: b, model: m }), layout, backend, dims: model.dims }
const cfg = { optimizer, seed: 0, remat: 'all-but-contractions' } as const
const train = await compile(trainStep(model, cfg), [stateOf(model), model.batch] as const, { ...where, donate: [0] })
const init = await compile(initialise(model), [input('seed', [], 'i32')] as const, where)
let state: any = await init(1)
console.log('collectives', train.collectives.length, 'inputs', train.inputs.length, 'outputs', train.local.outputPlacements.length)
const ids = () => Int32Array.from({ length: 4 * 32 }, () => Math.random() * 512 | 0)
const batch = { tokens: ids(), targets: ids() }
const step = async () => {
  const r: any = await (train as any)(state, batch)
  state = r.state
  const loss = await r.metrics.loss.item()
  for (const m of Object.values(r.metrics) as MeshArray[]) m.dispose()
  return loss
}
for (let i = 0; i < 100; i++) await step()
const ms: number[] = []
const cpu = process.cpuUsage(), t0 = performance.now()
for (let i = 0; i < n; i++) { const t = performance.now(); await step(); ms.push(performance.now() - t) }
const u = process.cpuUsage(cpu)
ms.sort((a, b) => a - b)
console.log(`${b}x${m} min`, ms[0]!.toFixed(2), 'p25', ms[n >> 2]!.toFixed(2), 'median', ms[n >> 1]!.toFixed(2), 'cpu ms/step', ((u.user + u.system) / 1000 / n).toFixed(2))
await backend.close()
