/** Pipelines that the search finds: their stages, microbatches and schedule; what it says can be pasted, and trains as it did; gradients in parts, and numbers in fewer bits only where that is allowed. */
import { runInThisContext } from 'node:vm'
import { expect, test } from 'vitest'
import { restaged } from '../../src/autolayout/stages.ts'
import { idle } from '../../src/autolayout/options.ts'
import { drawSearch, modelLine, recipeLine } from '../../src/cli/auto.ts'
import { flagsText, foundFlags } from '../../src/cli/found-flags.ts'
import { applyFlags } from '../../src/cli/overrides.ts'
import { fieldsOf } from '../../src/train/run.ts'
import { openBackend } from '../../src/engine/index.ts'
import { gptModel, type PipelineConfig } from '../../src/models/index.ts'
import { defineRun, findLayout, fit, forecast, knownMachine, laidAs, planRun, type FoundLayout, type Run } from '../../src/train/index.ts'
import { all, every } from '../support/depth.ts'
import { dry } from '../support/parallel-runs.ts'

const machine = knownMachine('cpu-25gbe')
const config = { vocab: 272, seq: 16, layers: 2, embed: 16, heads: 4, headDim: 4, hidden: 32, dropout: 0 }
const { data, optimizer } = dry
const common = { name: 'staged', data, optimizer, batch: 8, steps: 2, seed: 3, evaluation: { every: 2, batches: 1 } } as const
const staged = (pipeline: PipelineConfig | undefined, more: object): Run => defineRun({ ...common, model: gptModel({ ...config, pipeline }), ...more } as never)
/** A line as somebody pastes it. */
const pasted = (line: string): object => runInThisContext(`({ ${line} })`) as object
const again = (from: Run, found: FoundLayout): Run => defineRun({ ...common, mesh: from.mesh, layout: from.layout, params: from.params, ...pasted(recipeLine(from, found)), model: gptModel({ ...config, pipeline: { stages: 2, microbatches: 2 }, ...pasted(modelLine(found)) }) } as never)

test('an axis of stages takes its devices from one of the others, and gives them back', () => {
  const [data, model] = [{ axis: 'x', size: 8, option: { ...idle, compute: ['batch', 'layers'] } }, { axis: 'y', size: 2, option: { ...idle, compute: ['heads'] } }]
  const shown = (found: readonly (readonly { readonly axis: string; readonly size: number; readonly option: typeof idle }[])[]): string[] => found.map(c => c.map(({ axis, size, option }) => `${axis}=${size} ${option.compute.join('+')}`).join(', '))
  expect(shown(restaged([data, model], 2, false, []))).toEqual(['x=4 batch, y=2 heads, p=2 stage+layers', 'x=8 batch, p=2 stage+layers'])
  expect(shown(restaged([data, model], 4, false, ['y']))).toEqual(['x=2 batch, y=2 heads, p=4 stage+layers'])
  const [from = []] = restaged([data, model], 4, false, [])
  expect(shown(restaged(from, 1, false, []))).toEqual(['x=8 batch, y=2 heads', 'x=2 batch, y=8 heads'])
  expect(shown(restaged(from, 2, false, []))).toEqual(['x=4 batch, y=2 heads, p=2 stage+layers', 'x=2 batch, y=4 heads, p=2 stage+layers'])
  expect(shown(restaged([data, model], 2, true, []))).toEqual(['x=8 batch, y=2 stage+layers'])
})

const mesh = { stage: 2 }
const own = staged({ stages: 2, microbatches: 2 }, { mesh, layout: { stage: 'stage', layers: 'stage' } })
const found = findLayout(own, { devices: 2, machine })
const pinned = findLayout(own, { devices: 2, machine, pins: { layout: { stage: 'stage', layers: 'stage' } } })

test('no pipeline beside the one that is found, laid as it is, is quicker', () => {
  const least = found.predicted.stepMs
  for (const pipeline of [{ stages: 2, microbatches: 2 }, { stages: 2, microbatches: 4 }, { stages: 2, microbatches: 2, schedule: '1f1b' }] as const) {
    const run = staged(pipeline, { mesh, layout: { stage: 'stage', layers: 'stage' }, remat: 'nothing' })
    expect(forecast(run, planRun(run), machine).predicted.stepMs).toBeGreaterThanOrEqual(least * (1 - 1e-9))
  }
  const plain = staged(undefined, { mesh: { data: 2 }, layout: { batch: 'data' }, remat: 'nothing' })
  expect(forecast(plain, planRun(plain), machine).predicted.stepMs).toBeGreaterThanOrEqual(least * (1 - 1e-9))
})

test('every line that is printed can be pasted: its plan takes what was predicted', () => {
  const printed = [...found.candidates, ...pinned.candidates]
  expect(new Set(printed.map(c => JSON.stringify(c.model.pipeline))).size).toBeGreaterThan(1)
  for (const c of every(4, printed)) {
    const run = again(own, c)
    const { predicted } = forecast(run, planRun(run), machine)
    expect(predicted.stepMs).toBeCloseTo(c.predicted.stepMs, 8)
    expect(predicted.peakBytes).toBe(c.predicted.peakBytes)
    expect(planRun(laidAs(own, c)).plan.perDevice.peakBytes).toBe(c.predicted.peakBytes)
  }
})

test('what is printed of it says times as they are read, and a line for the recipe and for the command line', () => {
  const [first] = found.candidates
  if (first === undefined) throw new Error('nothing was found')
  const long = [1234.56, 12_345.6, 12_345_678, 1e10].map(stepMs => ({ ...first, predicted: { ...first.predicted, stepMs, collectiveMs: stepMs } }))
  const lines = drawSearch(own, { found: { ...pinned, candidates: long }, machine: machine.name }, { name: 'my recipe.ts', set: ['batch=8'] })
  const times = lines.filter(l => /^ +\d+ {2}/.test(l)).map(l => l.trim().split(/ {2,}/))
  expect(times.map(row => row[1])).toEqual(['1235 ms', '12.35 s', '206 min', '2,778 h'])
  expect(times.slice(0, 3).map(row => row[3])).toEqual(['1.23 s', '12.3 s', '206 min'])
  expect(lines[lines.indexOf('for the recipe') + 1]).toBe(`  ${recipeLine(own, pinned)}`)
  expect(lines.at(-1)).toContain(`npx meshwork train 'my recipe.ts' --mesh ${Object.entries(pinned.mesh).map(([a, n]) => `${a}=${n}`).join(',')} `)
  expect(lines.at(-1)).toContain('--set batch=8 ')
  // What no flag can say is not said wrongly.
  expect(drawSearch(own, { found, machine: machine.name }, { name: 'mine' }).includes('or at the command line')).toBe(found.model.pipeline !== null)
})

test('its flags lay the recipe as it does', () => {
  let said = 0
  for (const c of [...found.candidates, ...pinned.candidates]) {
    const flags = foundFlags(own, c, ['batch=16'])
    expect(flags === undefined).toBe(c.model.pipeline === null)
    if (flags === undefined) continue
    said++
    expect(fieldsOf(applyFlags(own, flags))).toEqual({ ...fieldsOf(laidAs(own, c)), batch: 16 })
  }
  expect(said).toBeGreaterThan(3)
  expect(flagsText({ mesh: 'a=2', layout: 'batch=a,seq=a', set: ['remat=nothing', 'layouts={"residual":{"seq":"a"}}'] })).toBe(`--mesh a=2 --layout batch=a,seq=a --set remat=nothing 'layouts={"residual":{"seq":"a"}}'`)
})

test('what is pasted trains to the same numbers', async () => {
  const losses: (readonly number[])[] = []
  for (const run of [again(own, pinned), again(own, found), staged(undefined, { mesh: { data: 1 }, layout: {} })]) {
    await using backend = await openBackend({ plugin: 'simulate', devices: Object.values(run.mesh).reduce((a, b) => a * b, 1) })
    using fitted = await fit(run, { backend })
    losses.push(fitted.losses)
  }
  for (const own of losses) own.forEach((loss, i) => { expect(loss).toBeCloseTo(losses[2]?.[i] ?? NaN, 4) })
})

test('fixed rules of stages keep the pipeline, a mesh keeps its sizes', () => {
  for (const c of pinned.candidates) expect([c.layout['stage'], c.model.pipeline]).toEqual(['stage', { stages: 2, microbatches: 2 }])
  if (all) for (const c of findLayout(own, { devices: 2, machine, mesh }).candidates) expect(c.mesh).toEqual(mesh)
})

test('numbers cross in fewer bits only where that is allowed', () => {
  const wide = defineRun({ ...common, batch: 8, mesh: { data: 2 }, layout: { batch: 'data' }, model: gptModel({ ...config, embed: 256, hidden: 1024, layers: 1 }) } as never)
  const options = { devices: 2, machine, mesh: { data: 2 }, pins: { layout: { batch: 'data' } } } as const
  const rounded = findLayout(wide, { ...options, wire: 'bf16' })
  expect(rounded.wire).toEqual({ data: 'bf16' })
  const [run, whole] = [rounded, { ...rounded, wire: {} }].map(c => laidAs(wide, c)) as [Run, Run]
  expect(rounded.predicted.stepMs).toBeLessThan(forecast(whole, planRun(whole), machine).predicted.stepMs)
  expect(run.wire).toEqual({ data: 'bf16' })
  expect(forecast(run, planRun(run), machine).predicted.stepMs).toBeCloseTo(rounded.predicted.stepMs, 8)
  if (all) for (const c of findLayout(wide, options).candidates) expect(c.wire).toEqual({})
})

if (all) test('where microbatches are summed, their gradients may rest in parts', () => {
  const wide = defineRun({ ...common, microbatches: 4, mesh: { data: 2 }, layout: { batch: 'data' }, remat: 'everything', model: gptModel({ ...config, embed: 64, hidden: 256 }) } as never)
  const options = { devices: 2, machine, mesh: { data: 2 }, pins: { layout: { batch: 'data' } } } as const
  const loose = findLayout(wide, options).candidates
  const least = Math.min(...loose.map(c => c.predicted.peakBytes))
  const tight = findLayout(wide, { ...options, machine: { ...machine, memory: { bytes: least * 1.02, reserved: 0 } } })
  for (const c of tight.candidates) expect(c.predicted.peakBytes).toBeLessThanOrEqual(least * 1.02)
  for (const c of [...loose, ...tight.candidates].filter(c => Object.keys(c.gradients).length > 0)) expect(planRun(laidAs(wide, c)).plan.perDevice.peakBytes).toBe(c.predicted.peakBytes)
})
