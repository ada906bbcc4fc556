/** The order of collectives of one process lies in what is computed from what, also where a program was stored and loaded again. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { compile, dims, input, mesh as meshOf, openBackend, plan, scan } from '../../src/engine/index.ts'
import { bodiesOf, orderOf } from '../../src/graph/node.ts'
import { t5, t5Schema } from '../../src/models/index.ts'
import { adamw } from '../../src/optim/index.ts'
import { collectiveKind } from '../../src/partition/collectives.ts'
import type { LocalBody, LocalNode } from '../../src/partition/local.ts'
import { holdsCollectives, isOrdered, tiesIn } from '../../src/partition/ties.ts'
import { stateOf, trainStep } from '../../src/train/program.ts'

// Two loops there and two back, and sums along both axes that none of them needs.
const model = t5(t5Schema.parse({ vocab: 512, source: 64, target: 64, encoderLayers: 2, decoderLayers: 2, embed: 64, heads: 4, headDim: 16, hidden: 128 }), 4)
const config = { seed: 0, remat: 'all-but-contractions', optimizer: adamw({ rate: 1e-3 }) } as const
const where = { mesh: meshOf({ batch: 2, model: 2 }), layout: { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' }, dims: model.dims } as const
const args = [stateOf(model, config), model.batch] as const
const step = trainStep(model, config)

test('a loop that takes collectives, and any other collective, are ordered by what is computed from what once they are tied', () => {
  const { local } = plan(step, args, where)
  expect(isOrdered(local)).toBe(false)
  const check = (body: Pick<LocalBody, 'outputs'>): number => {
    const { order, ties } = tiesIn(orderOf(body.outputs))
    expect(new Set(order)).toEqual(new Set(orderOf(body.outputs)))
    // Every node with all that it is computed from, or waits for.
    const above = new Map<LocalNode, ReadonlySet<LocalNode>>()
    for (const n of order) {
      const before = [...n.inputs, ...ties.get(n) ?? []]
      expect(before.every(i => above.has(i))).toBe(true)
      above.set(n, new Set(before.flatMap(i => [i, ...above.get(i) ?? []])))
    }
    const meeting = order.filter(n => collectiveKind(n) !== undefined || holdsCollectives(n))
    let pairs = 0
    meeting.forEach((n, i) => {
      for (const before of meeting.slice(0, i)) if (holdsCollectives(n) || holdsCollectives(before)) { pairs++; expect(above.get(n)?.has(before)).toBe(true) }
    })
    return pairs + order.flatMap(n => bodiesOf(n)).reduce((sum, b) => sum + check(b), 0)
  }
  expect(check(local)).toBeGreaterThan(50)
})

test('the text has ties where there are kernels to write them with, on several devices of one process', () => {
  const count = (options: object): number => plan(step, args, { ...where, ...options }).text.split('"meshwork.after"').length - 1
  expect(count({ kernels: true })).toBeGreaterThan(2)
  // What is copied lies in rows on both sides, whoever reads it.
  const calls = plan(step, args, { ...where, kernels: true }).text.split('\n').filter(line => line.includes('"meshwork.after"'))
  for (const call of calls) expect(call).toMatch(/operand_layouts = \[dense<.*result_layouts = \[dense</)
  expect(count({})).toBe(0)
  expect(count({ kernels: true, devicesAs: 'ranks' })).toBe(0)
  expect(count({ kernels: true, mesh: meshOf({ batch: 1, model: 1 }) })).toBe(0)
})

test('a stored program computes what the compiled one did, run after run; without kernels it is not stored', async () => {
  const d = dims({ rows: 128, width: 128, turn: 8 })
  const [x, v] = [input('x', [d.rows, d.width]), input('v', [d.rows, d.width])]
  // Two loops with sums along both axes in every turn, and sums beside them: nothing needs anything of another.
  const loop = (from: typeof x) => scan(d.turn, from, {}, carried => [carried.sub(carried.mean(d.rows)).div(carried.square().mean(d.width).add(1)).tanh(), carried.square().sum(d.rows)] as const)
  const work = (x_: typeof x, v_: typeof v) => ({ one: loop(x_), other: loop(v_), beside: [x_.exp().sum(d.rows), v_.exp().sum(d.width), x_.mul(v_).sum(d.width), v_.sin().sum(d.rows)] })
  const cache = await mkdtemp(join(tmpdir(), 'meshwork-ties-'))
  const numbers = (salt: number): Float32Array => Float32Array.from({ length: 128 * 128 }, (_, i) => Math.sin(i * 0.37 + salt))
  const run = async () => {
    await using backend = await openBackend({ devices: 4, cache })
    using program = await compile(work, [x, v] as const, { mesh: meshOf({ a: 2, b: 2 }), layout: { rows: 'a', width: 'b' }, backend })
    const found: number[][] = []
    for (let i = 0; i < 15; i++) {
      const { one, other, beside } = await program(numbers(i), numbers(-i))
      const arrays = [...one, ...other, ...beside]
      found.push(await Promise.all(arrays.map(async y => Array.from(await y.read() as Float32Array).reduce((sum, z) => sum + z, 0))))
      for (const y of arrays) y.dispose()
    }
    return { fromCache: program.fromCache, kernels: await backend.kernels(), found }
  }
  try {
    const [first, second] = [await run(), await run()]
    expect([first.fromCache, second.fromCache]).toEqual([false, second.kernels])
    expect(second.found).toEqual(first.found)
    expect(first.found.flat().every(Number.isFinite)).toBe(true)
  } finally {
    await rm(cache, { recursive: true, force: true })
  }
})
