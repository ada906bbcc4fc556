/** A training step that workers time: compiled for a mesh, its weights drawn or written for the peers, its batches read from files. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { treeOps } from '../src/core/tree.ts'
import { compile, input, MeshArray, type MemoryStats, type Tree } from '../src/engine/index.ts'
import type { Model } from '../src/models/model.ts'
import { initialise, stateOf, trainStep, type Where } from '../src/train/program.ts'
import { optimizerOf, type PlainOptimizer } from '../test/oracle/cases.ts'
import { writeArrays } from '../test/oracle/exchange.ts'

const arrays = treeOps((x): x is MeshArray => x instanceof MeshArray, 'an array')

export interface Stepping { readonly model: Model<Tree, Tree>; readonly where: Where; readonly optimizer: PlainOptimizer; readonly folder: string; readonly batches: readonly unknown[]; readonly remat: 'all-but-contractions' | 'everything' | 'nothing' }
export interface Steps { readonly ms: readonly number[]; readonly losses: readonly number[] }
export interface Stepper {
  readonly memory: MemoryStats | undefined
  /** Writes the weights as they are now, for peers to read. */
  save(): Promise<void>
  /** Each step timed from its batch on the host to its loss there. */
  steps(count: number): Promise<Steps>
  close(): void
}

export async function openStepper({ model, where, optimizer, folder, batches, remat }: Stepping): Promise<Stepper> {
  const config = { optimizer: optimizerOf(optimizer), seed: 0, remat } as const
  const train = await compile(trainStep(model, config), [stateOf(model, config), model.batch] as const, { ...where, donate: [0] })
  using init = await compile(initialise(model, config), [input('seed', [], 'i32')] as const, where)
  let state: unknown = await init(1)
  let at = 0
  return {
    memory: train.memory,
    async save() {
      const leaves = arrays.flatten((state as { readonly params: unknown }).params)
      const read = await Promise.all(leaves.map(async ({ path, leaf }) => [path, { shape: leaf.shape.map(d => d.size), data: await leaf.read() as Float32Array }] as const))
      if (where.backend.processes.rank === 0) await writeFile(join(folder, 'weights.json'), JSON.stringify(await writeArrays(folder, new Map(read))))
    },
    async steps(count) {
      const [ms, losses]: [number[], number[]] = [[], []]
      for (let i = 0; i < count; i++) {
        const start = performance.now()
        const { state: next, metrics } = await train(state as never, batches[at++ % batches.length] as never)
        losses.push(await metrics.loss.item())
        ms.push(performance.now() - start)
        for (const m of Object.values(metrics)) m.dispose()
        state = next
      }
      return { ms, losses }
    },
    close() {
      for (const { leaf } of arrays.flatten(state)) leaf.dispose()
      train.dispose()
    },
  }
}
