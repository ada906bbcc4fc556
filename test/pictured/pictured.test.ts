/** What is drawn of a plan is the plan: sums of its program are those of `planRun`, phases are told apart, and what is planned again is what would be planned anew. */
import { describe, expect, test } from 'vitest'
import gpt1t from '../../recipes/gpt-1t.ts'
import gptTiny from '../../recipes/gpt-tiny.ts'
import moeTiny from '../../recipes/moe-tiny.ts'
import { applyFlags, type RunFlags } from '../../src/cli/overrides.ts'
import { curveOf, ownersAt, peakOf, totalAt } from '../../src/draw/memory.ts'
import { coordinatesOf, partOf, rangesOf } from '../../src/draw/parts.ts'
import { partOf as partOnMesh } from '../../src/core/mesh.ts'
import { pictured } from '../../src/pictured/pictured.ts'
import { planner, planRun } from '../../src/train/planned.ts'
import type { CollectiveShown, ItemShown, Phase } from '../../src/train/pictured-shape.ts'
import type { Run } from '../../src/train/run.ts'

const phases: readonly Phase[] = ['forward', 'backward', 'update']
const inside = (item: ItemShown): readonly ItemShown[] => (item.kind === 'loop' ? item.items : item.kind === 'choice' ? item.branches.flatMap(b => b.items) : [])
const counted = (item: ItemShown): readonly ItemShown[] => (item.kind === 'choice' ? item.branches.filter(b => b.counted).flatMap(b => b.items) : inside(item))
const collectivesIn = (items: readonly ItemShown[]): CollectiveShown[] => items.flatMap(i => (i.kind === 'collective' ? [i] : collectivesIn(counted(i))))
const flopsIn = (items: readonly ItemShown[]): number => items.reduce((n, i) => n + (i.kind === 'ops' ? i.flops : flopsIn(inside(i))), 0)
const all = (items: readonly ItemShown[]): ItemShown[] => items.flatMap(i => [i, ...all(inside(i))])

const cases: readonly (readonly [string, Run, RunFlags])[] = [
  ['data and tensor parallel', gptTiny, {}], ['FSDP', gptTiny, { mesh: 'batch=4', layout: 'batch=batch', params: 'embed=batch' }], ['in microbatches', gptTiny, { set: ['microbatches=2'] }],
  ['sequences in blocks', gptTiny, { set: ['model.blockwise=32'] }], ['experts', moeTiny, {}], ['a pipeline of one forward and one back', gpt1t, {}],
]

describe.each(cases)('%s', (_, recipe, flags) => {
  const run = applyFlags(recipe, flags)
  const planned = planRun(run)
  const shown = pictured(run, planned)
  const items = phases.flatMap(p => shown.program[p])

  test('its program has the collectives and the operations of the plan, each once', () => {
    const key = (c: { readonly axes: readonly string[]; readonly dtype: string; readonly bytes: number; readonly at: string | null }, kind: string): string => JSON.stringify([kind, c.axes, c.dtype, c.bytes, c.at])
    const sum = (of: readonly (readonly [string, number])[]): object => Object.fromEntries([...of.reduce((m, [k, n]) => m.set(k, (m.get(k) ?? 0) + n), new Map<string, number>())].sort())
    expect(sum(collectivesIn(items).map(c => [key(c, c.collective), c.count] as const))).toEqual(sum(planned.plan.collectives.map(c => [key(c, c.kind), c.count] as const)))
    expect(flopsIn(items) / planned.plan.perDevice.flops).toBeCloseTo(1, 9)
    expect(new Set(all(items).map(i => i.id)).size).toBe(all(items).length)
  })

  test('the way back has twice the products of the way forward, and more where some are computed again; the update has none', () => {
    const byPhase = (list: readonly ItemShown[], phase: Phase): number => list.reduce((n, i) => n + (i.kind === 'ops' ? i.phase === phase ? i.flops : 0 : byPhase(inside(i), phase)), 0)
    const [forward, backward, update] = phases.map(p => byPhase(items, p)) as [number, number, number]
    expect(update).toBe(0)
    expect(backward / forward).toBeGreaterThan(1.9)
    expect(backward / forward).toBeLessThan(4.1)
  })

  test('memory over the step is highest at the plan\u2019s peak', () => {
    const curve = curveOf(shown.memory)
    const at = peakOf(curve)
    expect(totalAt(curve, at)).toBe(planned.memory.largest.reduce((n, l) => n + l.bytes, 0))
    expect(ownersAt(shown.memory, at).reduce((n, o) => n + o.bytes, 0)).toBe(totalAt(curve, at))
    const { parameters, state, rest, heap } = shown.memory
    expect(parameters + state + rest + heap).toBe(planned.plan.perDevice.peakBytes)
    expect(totalAt(curve, at)).toBeLessThanOrEqual(heap)
  })

  test('parts of tensors lie where the mesh has them', () => {
    for (const t of shown.tensors) {
      expect(t.rules.map(r => [r.dim, r.axes])).toEqual(Object.entries(t.layout))
      for (const device of [0, 1, planned.mesh.size - 1]) {
        for (const r of rangesOf(t, shown.plan.mesh, coordinatesOf(shown.plan.mesh, device))) expect(r.part).toBe(partOnMesh(planned.mesh, t.layout[r.dim] ?? [], device))
      }
    }
  })
})

test('a rule is said by the layout that it stands in', () => {
  const run = applyFlags(gptTiny, { params: 'embed=batch' })
  const up = pictured(run, planRun(run)).tensors.find(t => t.path === 'params.blocks.up')
  expect(up).toMatchObject({ of: 'parameters', in: 'params', rules: [{ dim: 'embed', axes: ['batch'], layout: 'params' }, { dim: 'hidden', axes: ['model'], layout: 'compute' }] })
  const parts = new Set([0, 1, 2, 3].map(d => partOf(rangesOf({ dims: up?.dims ?? {}, layout: up?.layout ?? {} }, { batch: 2, model: 2 }, coordinatesOf({ batch: 2, model: 2 }, d))).part))
  expect(parts.size).toBe(4)
})

test('what is planned again, elsewhere or otherwise, is what would be planned anew', () => {
  const plan = planner()
  for (const flags of [{}, { mesh: 'batch=4,model=1' }, { params: 'embed=batch' }, { set: ['batch=16'] }, { set: ['remat=nothing'] }, {}]) {
    const run = applyFlags(gptTiny, flags)
    expect(plan(run).plan).toEqual(planRun(run).plan)
  }
})
