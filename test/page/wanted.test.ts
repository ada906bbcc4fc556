/** What is dragged on the page, as flags: they say what was wanted, and a plan takes them. */
import { expect, test } from 'vitest'
import gptTiny from '../../recipes/gpt-tiny.ts'
import { applyFlags } from '../../src/cli/overrides.ts'
import { flagsOf, freeDim, laid, lifted, lineOf, resized, rulesIn, wantedOf } from '../../src/page/what-if/wanted.ts'
import { pictured } from '../../src/pictured/pictured.ts'
import { planRun } from '../../src/train/planned.ts'

const plan = pictured(gptTiny, planRun(gptTiny))
const base = wantedOf(plan)
const run = (wanted: typeof base): ReturnType<typeof applyFlags> => applyFlags(gptTiny, flagsOf(base, wanted))

test('nothing wanted is no flag', () => {
  expect(flagsOf(base, base)).toEqual({})
  expect(lineOf('gpt-tiny', {})).toBe('npx meshwork plan gpt-tiny')
  expect(lineOf('gpt-tiny', { set: ['batch=8'] }, '8xh100')).toBe('npx meshwork plan gpt-tiny --machine 8xh100 --set batch=8')
})
test('a dim is laid, moved, and taken off', () => {
  const fsdp = laid(base, plan.layouts, 'params', 'embed', 'batch')
  expect(flagsOf(base, fsdp)).toEqual({ params: 'embed=batch' })
  expect(rulesIn(fsdp, 'state', plan.layouts)).toMatchObject({ embed: ['batch'], hidden: ['model'] })
  expect(flagsOf(base, lifted(fsdp, plan.layouts, 'params', 'embed', 'batch'))).toEqual({})
  const moved = laid(base, plan.layouts, 'compute', 'batch', 'model', 'batch')
  expect(run(moved).layout).toMatchObject({ batch: 'model' })
  const both = laid(base, plan.layouts, 'compute', 'vocab', 'batch')
  expect(run(both).layout['vocab']).toEqual(['model', 'batch'])
})
test('a rule of the layout below is taken back by an empty one, which is a field', () => {
  const off = lifted(base, plan.layouts, 'params', 'hidden', 'model')
  expect(flagsOf(base, off)).toEqual({ set: ['params={"hidden":[]}'] })
  expect(run(off).params).toEqual({ hidden: [] })
  expect(lineOf('gpt-tiny', flagsOf(base, off))).toBe('npx meshwork plan gpt-tiny --set \'params={"hidden":[]}\'')
  expect(planRun(run(off)).plan.perDevice.parameterBytes).toBeGreaterThan(plan.plan.perDevice.parameterBytes)
})
test('without an axis no rule speaks of it; without rules, and without a mesh, it can be said too', () => {
  const one = resized(base, 'model', undefined)
  expect(flagsOf(base, one)).toEqual({ mesh: 'batch=2', layout: 'batch=batch' })
  const none = resized(one, 'batch', undefined)
  expect(flagsOf(base, none)).toEqual({ set: ['mesh={}', 'layout={}'] })
  expect(planRun(run(none)).plan.devices).toBe(1)
})
test('named layouts and numbers', () => {
  const seq = laid({ ...base, batch: 16, microbatches: 2, remat: 'nothing' }, plan.layouts, 'residual', 'seq', 'model')
  expect(flagsOf(base, seq)).toEqual({ set: ['layouts={"residual":{"seq":"model"}}', 'batch=16', 'microbatches=2', 'remat=nothing'] })
  expect(run(seq)).toMatchObject({ batch: 16, microbatches: 2, remat: 'nothing', layouts: { residual: { seq: 'model' } } })
})
test('FSDP cuts embed, or the dim of most parameters that no rule lays', () => {
  expect(freeDim(plan, plan.layouts[0]?.rules ?? {})).toBe('embed')
  expect(freeDim({ ...plan, tensors: plan.tensors.map(t => ({ ...t, dims: Object.fromEntries(Object.entries(t.dims).map(([d, n]) => [d === 'embed' ? 'seq' : d, n])) })) }, {})).not.toBe('embed')
})
