/** Layouts that are found for runs: the known ones or better, the same each time, under the memory there is, with rules that stay. */
import { expect, test } from 'vitest'
import { idleText, recipeLine } from '../../src/cli/auto.ts'
import { textData } from '../../src/data/index.ts'
import { gptModel } from '../../src/models/index.ts'
import { adamwCosine, defineRun, findLayout, knownMachine, laidAs, planRun } from '../../src/train/index.ts'
import { all } from '../support/depth.ts'

const machine = knownMachine('cpu-25gbe')
const run = defineRun({
  name: 'small', batch: 2, steps: 1, data: textData({ files: ['novel.txt'] }), optimizer: adamwCosine({ rate: 1e-3 }), mesh: { batch: 1, model: 1 }, layout: { batch: 'batch' },
  model: gptModel({ vocab: 32, seq: 8, layers: 1, embed: 16, heads: 2, headDim: 8, hidden: 32, dropout: 0 }),
})
const found = findLayout(run, { devices: 2, machine })

test('the same is found each time, sorted, and what is predicted is what its plan takes', () => {
  expect(findLayout(run, { devices: 2, machine })).toEqual(found)
  const times = found.candidates.map(c => c.predicted.stepMs)
  expect(times).toEqual([...times].sort((a, b) => a - b))
  expect(found.candidates.length).toBeGreaterThan(3)
  const { plan } = planRun(laidAs(run, found))
  expect(plan.perDevice.peakBytes).toBe(found.predicted.peakBytes)
  expect(plan.devices).toBe(2)
  for (const c of found.candidates) expect(Object.values(c.mesh).reduce((a, b) => a * b, 1)).toBe(2)
})

test('of devices that only do what others do it is said', () => {
  const said = found.candidates.map(c => [Object.hasOwn(c.mesh, 'rest'), idleText(c)])
  expect(said.some(([is]) => is === true)).toBe(true)
  expect(said).toEqual(said.map(([is]) => [is, is === true ? expect.stringMatching(/^nothing is cut along rest=2, .*: one would be as quick/) : undefined]))
})

test('what is printed for a recipe can be read by a compiler, whatever axes are called', () => {
  expect(recipeLine(run, { ...found, mesh: { 'two-way': 2 }, layout: { batch: 'two-way' }, params: {}, state: {}, gradients: {}, layouts: {} })).toMatch(/^mesh: \{ 'two-way': 2 \}, layout: \{ batch: 'two-way' \}, /)
})

test('no layout that anybody would try first is quicker', () => {
  expect(found.obvious.map(o => o.name)).toEqual(expect.arrayContaining(['data parallel', 'tensor parallel']))
  for (const o of found.obvious) if (o.stepMs !== undefined && o.reason === 'time') expect(o.stepMs).toBeGreaterThanOrEqual(found.predicted.stepMs)
})

test('rules that are fixed stay, and those that contradict each other are one error', () => {
  const pinned = findLayout(run, { devices: 2, machine, pins: { layout: { heads: 'model' } } })
  for (const c of pinned.candidates) expect([c.layout['heads'], c.mesh['model']]).toEqual(['model', 2])
  // A rule of what rests that the layout has, too, is one rule.
  const twice = findLayout(run, { devices: 2, machine, pins: { layout: { heads: 'model' }, params: { heads: 'model' } } })
  for (const c of twice.candidates) expect([c.layout['heads'], Object.keys(c.params)]).toEqual(['model', []])
  expect(() => findLayout(run, { devices: 2, machine, pins: { layout: { embed: 'model', hidden: 'model' } } })).toThrow(/no layout can keep these rules: two dims of .* lie on axis "model"/)
  expect(() => findLayout(run, { devices: 2, machine, pins: { layout: { head: 'model' } } })).toThrow(/names dim "head", which the model does not have/)
})

// Searches of their own, each as long as all above.
if (all) test('a fixed rule is kept by whichever size of its axis can, and its name is no other axis\'s', () => {
  const three = defineRun({ name: 'three', batch: 4, steps: 1, data: run.data as never, optimizer: adamwCosine({ rate: 1e-3 }), mesh: { batch: 1 }, layout: {}, model: gptModel({ vocab: 32, seq: 8, layers: 1, embed: 24, heads: 3, headDim: 8, hidden: 48, dropout: 0 }) })
  const its = findLayout(three, { devices: 6, machine, pins: { layout: { heads: 'x' } } })
  for (const c of its.candidates) expect([c.layout['heads'], c.mesh['x'], Object.values(c.mesh).reduce((a, b) => a * b, 1)]).toEqual(['x', 3, 6])
  // Axes that links treat alike make one layout, whichever comes first.
  const said = its.candidates.map(c => JSON.stringify([c.predicted, Object.entries(c.mesh).sort(), ...[c.layout, c.params, c.state].map(r => Object.entries(r).sort()), c.layouts, c.remat, c.microbatches]))
  expect(new Set(said).size).toBe(said.length)
})

test('on one device there is one layout, and what to compute again', () => {
  const { candidates, obvious } = findLayout(run, { devices: 1, machine })
  expect([candidates.map(c => c.mesh), obvious]).toEqual([candidates.map(() => ({})), []])
  expect(new Set(candidates.map(c => JSON.stringify([c.remat, c.microbatches]))).size).toBe(candidates.length)
})

test('memory is respected', () => {
  const least = Math.min(...found.candidates.map(c => c.predicted.peakBytes))
  const tight = { ...machine, memory: { bytes: least * 1.05, reserved: 0 } }
  for (const c of findLayout(run, { devices: 2, machine: tight }).candidates) expect(c.predicted.peakBytes).toBeLessThanOrEqual(least * 1.05)
})

if (all) test('what fits in no layout says by how much', () => {
  const none = { ...machine, memory: { bytes: 5, reserved: 0 } }
  expect(() => findLayout(run, { devices: 2, machine: none })).toThrow(/does-not-fit.*fits on 2 devices of cpu-25gbe in no layout: the least takes .* GB of each, .* more than.*use more than \d+ devices/s)
})
