/** The search's tables against whole plans: on layouts drawn at random, senseless ones among them, operations and the time of products are those of the plan; collectives and their bytes are in nearly all. */
import { expect, test } from 'vitest'
import { Tables } from '../../src/autolayout/tables.ts'
import { Tensors } from '../../src/autolayout/legal.ts'
import { mesh as meshOf, type Mesh } from '../../src/core/mesh.ts'
import type { Layouts } from '../../src/core/layout.ts'
import { localFlops } from '../../src/cost/flops.ts'
import { stepTime } from '../../src/cost/time.ts'
import { runsOf } from '../../src/cost/turns.ts'
import { graphOf, type Tree } from '../../src/engine/index.ts'
import type { Node } from '../../src/graph/node.ts'
import { knownMachine } from '../../src/machine/read.ts'
import { gptModel, llamaModel } from '../../src/models/index.ts'
import { collectives, type Collective } from '../../src/partition/collectives.ts'
import type { LocalBody } from '../../src/partition/local.ts'
import { checkGraph, partition } from '../../src/partition/partition.ts'
import { stateOf, trainStep, type TrainState } from '../../src/train/program.ts'
import { adamwCosine } from '../../src/train/index.ts'

const inFull = { params: 'f32', compute: 'f32' } as const
const models = {
  gpt: gptModel({ vocab: 64, seq: 16, layers: 2, embed: 32, heads: 4, headDim: 8, hidden: 64 }).build({ batch: 8, precision: inFull }),
  llama: llamaModel({ vocab: 64, seq: 16, layers: 2, embed: 32, heads: 8, kvHeads: 4, headDim: 8, hidden: 64 }).build({ batch: 8, precision: inFull }),
}
const machine = knownMachine('cpu-25gbe')
/** Of each model. */
const count = 30
const meshes = [{ a: 4 }, { a: 2, b: 2 }, { a: 4, b: 2 }].map(m => meshOf(m) as Mesh)

/** The same numbers on every machine. */
const drawn = (seed: number): ((n: number) => number) => {
  let s = seed
  return n => { s = (s * 1103515245 + 12345) % 2147483648; return Math.floor(s / 2147483648 * n) }
}

/** By kind, axes and dtype: bytes in all, those of collectives that are merged with others included. */
function bytesBy(found: readonly Collective[]): { readonly [kind: string]: number } {
  const sums = new Map<string, number>()
  for (const c of found) {
    const key = `${c.kind} ${c.axes.join()} ${c.dtype}`
    sums.set(key, (sums.get(key) ?? 0) + c.bytes * c.count)
  }
  return Object.fromEntries([...sums].sort())
}
const inAll = (found: readonly Collective[]): number => found.reduce((n, c) => n + c.bytes * c.count, 0)

for (const [name, built] of Object.entries(models)) {
  test(`${count} layouts of ${name}, drawn at random, have in tables what they have in plans`, () => {
    const model = built as unknown as { readonly params: Tree; readonly batch: Tree; readonly dims: { readonly [d: string]: { readonly name: string; readonly size: number } }; readonly layouts?: { readonly [n: string]: string } } & Parameters<typeof trainStep>[0]
    const config = { seed: 0, remat: 'all-but-contractions', optimizer: adamwCosine({ rate: 1e-3 }).build({ steps: 1 }) } as const
    const args: [TrainState<Tree>, Tree] = [stateOf(model, config), model.batch]
    const graph = graphOf(trainStep(model, config), args)
    const dims = Object.values(model.dims)
    const uses = model.layouts === undefined ? {} : { uses: model.layouts }
    const runs = new Map([...runsOf(graph as unknown as LocalBody, () => 0)].map(([body, times]) => [body.outputs as unknown as readonly Node[], times]))
    const tables = new Map(meshes.map(mesh => [mesh, new Tables({ graph, mesh, machine, runs, streamed: [] })]))
    const tensors = new Tensors(graph, checkGraph(graph, meshOf({}), { layout: {}, ...uses }, dims))
    const random = drawn(7)
    const names = dims.map(d => d.name)
    let [seen, equal] = [0, 0]
    while (seen < count) {
      const mesh = meshes[random(meshes.length)]
      if (mesh === undefined) throw new Error('no mesh')
      const rules = (most: number): { [dim: string]: string[] } => {
        const found: { [dim: string]: string[] } = {}
        for (const { name: axis } of mesh.axes) for (let k = 0; k < most; k++) { const d = names[random(names.length)] ?? ''; found[d] = [...new Set([...found[d] ?? [], axis])] }
        return found
      }
      const residual = random(2) === 0 ? {} : { layouts: { residual: { seq: [mesh.axes[random(mesh.axes.length)]?.name ?? 'a'] } } }
      const layouts: Layouts = { layout: rules(2), params: random(2) === 0 ? {} : rules(1), state: random(3) > 0 ? {} : rules(1), ...residual, ...uses }
      if (tensors.wrong(layouts, mesh) !== undefined) {
        expect(() => checkGraph(graph, mesh, layouts, dims)).toThrow()
        continue
      }
      seen++
      const local = partition(graph, mesh, layouts, dims)
      const found = tables.get(mesh)?.of(layouts)
      if (found === undefined) throw new Error('no tables')
      const what = `${name} ${JSON.stringify(mesh.axes)} ${JSON.stringify(layouts)}`
      expect([what, found.flops]).toEqual([what, localFlops(local)])
      const time = stepTime(local, machine, mesh)
      expect([what, found.productMs]).toEqual([what, expect.closeTo(time.productMs, 6)])
      const sent = collectives(local)
      // Where a loop computes again what it relays out off the rules, a collective may be kept that the plan repeats, or the other way round.
      expect([what, Math.abs(inAll(found.collectives) - inAll(sent)) <= 0.15 * inAll(sent)]).toEqual([what, true])
      if (JSON.stringify(bytesBy(found.collectives)) === JSON.stringify(bytesBy(sent))) equal++
    }
    expect(equal).toBeGreaterThanOrEqual(count - 2)
  })
}
