/** What is wrong with a pipeline, each with what to change. */
import { expect, test } from 'vitest'
import { dims, input, param, plan, mesh, type Scalar, type Tensor } from '../../src/index.ts'
import { gpt } from '../../src/models/index.ts'
import { pipeline, type PipelineOptions } from '../../src/parallel/index.ts'
import { planRun } from '../../src/train/index.ts'
import { formed } from '../support/parallel-runs.ts'
import { net, planned } from './support.ts'

const given = net({ layers: 4 })
const message = (f: () => unknown): string => {
  try { f() } catch (e) { return String((e as Error).message) }
  return 'no error'
}
const refused = (how: PipelineOptions, layout: object = {}, sizes: object = {}): string => message(() => planned(given, how, sizes as { readonly [axis: string]: number }, { layout: layout as { readonly [dim: string]: string } }))

const wrong = (x: unknown): never => x as never
test.each<readonly [string, () => string, RegExp]>([
  ['microbatches that do not divide the batch', () => refused({ stages: 2, microbatches: 3 }), /^DimError\[pipeline-batch\] .*"batch" of size 8 cannot be cut into 3 microbatches[^]*fix +use a number of microbatches that divides 8/],
  ['no microbatches', () => refused({ stages: 2, microbatches: 0 }), /^UsageError\[pipeline-microbatches\] .*microbatches is 0[^]*fix +give a whole number/],
  ['fewer layers than stages', () => refused({ stages: 5, microbatches: 4 }), /^UsageError\[pipeline-layers\] .*4 layers cannot be 5 stages[^]*fix +use at most 4 stages/],
  ['fewer layers than rounds need', () => refused({ stages: 2, microbatches: 4, schedule: 'circular', rounds: 3 }), /^UsageError\[pipeline-layers\] .*4 layers cannot be 6 stages \(2 in each of 3 rounds\)/],
  ['numbers of layers that do not add up', () => refused({ stages: [1, 2], microbatches: 4 }), /^UsageError\[pipeline-layers\] .*the stages \[1, 2\] have 3 layers, and there are 4[^]*fix +let the numbers/],
  ['stages that are none', () => refused({ stages: wrong('two'), microbatches: 4 }), /^UsageError\[pipeline-stages\] .*stages is "two"/],
  ['no such schedule', () => refused({ stages: 2, microbatches: 4, schedule: wrong('zigzag') }), /^UsageError\[pipeline-schedule\] .*no schedule "zigzag"[^]*fix +give one of gpipe, circular, 1f1b/],
  ['rounds of a schedule without', () => refused({ stages: 2, microbatches: 4, rounds: 2 }), /^UsageError\[pipeline-rounds\] .*rounds is 2, and the schedule gpipe has one/],
  ['a circle with fewer microbatches than stages', () => refused({ stages: 4, microbatches: 2, schedule: 'circular', rounds: 1 }), /^UsageError\[pipeline-microbatches\] .*2 microbatches go round 4 stages[^]*fix +use a number of microbatches that 4 divides/],
  ['a stage axis that does not divide the stages', () => refused({ stages: 2, microbatches: 4 }, { stage: 'stage' }, { stage: 4 }), /^LayoutError\[does-not-divide\] .*"stage" of size 2 cannot be cut into 4/],
  ['layers that lie where stages do not fit', () => message(() => gpt({ vocab: 8, seq: 4, layers: 3, embed: 4, heads: 1, headDim: 4, hidden: 4, dropout: 0, pipeline: { stages: 4, microbatches: 2 } }, 4)), /^UsageError\[pipeline-layers\] .*3 layers cannot be 4 stages/],
])('%s', (_, f, expected) => { expect(f()).toMatch(expected) })

const d = dims({ batch: 4, embed: 4, more: 4, layers: 2 })
const w = param('w', [d.layers, d.embed])
const x = input('x', [d.batch, d.embed])
type X = Tensor<'batch' | 'embed'>
const through = (block: (x: X, w: Tensor<'embed'>) => X, how: Partial<PipelineOptions> = {}): string =>
  message(() => plan((x: X, w: Tensor<'layers' | 'embed'>) => pipeline(d.layers, x, w, block, { stages: 2, microbatches: 2, ...how }), [x, w] as const, { mesh: mesh({}), layout: {} }))

test.each<readonly [string, () => string, RegExp]>([
  ['a block that changes what it hands on', () => through(x => x.rename('embed', 'more') as never), /^DimError\[blocks-differ\] .*a block changes its dims[^]*before +batch=4 embed=4[^]*after +batch=4 more=4[^]*at +test.parallel/],
  ['a block that changes the dtype', () => through(x => x.cast('bf16')), /^DimError\[blocks-differ\] .*dtype/],
  ['a block that mixes examples', () => through((x, w) => x.sub(x.mean('batch')).mul(w)), /^DimError\[mixes-examples\] .*the blocks work along "batch", of which they see one of 2 microbatches[^]*fix +let blocks treat each element/],
  ['a block with a dim of the same name', () => through((x, w) => x.add(x.rename('embed', 'stage').sum('stage')).mul(w)), /^DimError\[dim-taken\] .*dim "stage" of their own/],
  ['what has no batch', () => through((x, w) => x.mul(w), { batch: 'rows' }), /^DimError\[pipeline-batch\] .*has no dim "rows"[^]*fix +let blocks use it from outside/],
  ['the schedule that needs a loss', () => through((x, w) => x.mul(w), { schedule: '1f1b' }), /^UsageError\[pipeline-schedule\] .*1f1b[^]*fix +use pipelineLoss/],
  ['layers of another number', () => message(() => pipeline({ name: 'layers', size: 3 }, x, w, (x: X, w: Tensor<'embed'>) => x.mul(w), { stages: 2, microbatches: 2 })), /^DimError\[pipeline-layers\] .*has size 2/],
  ['places that are none', () => through((x, w) => x.mul(w), { layers: 3 }), /^DimError\[pipeline-layers\] .*3 layers have 4 places/],
  ['what is not stacked', () => message(() => pipeline(d.layers, x, { w, bad: x.sum() as Scalar as never }, (x: X) => x, { stages: 2, microbatches: 2 })), /^DimError\[pipeline-layers\] .*"bad" lacks that dim/],
])('%s', (_, f, expected) => { expect(f()).toMatch(expected) })

test('one microbatch sees the whole batch, and may mix it', () => {
  expect(through((x, w) => x.sub(x.mean('batch')).mul(w), { microbatches: 1 })).toBe('no error')
})

test.each([
  [{ layout: { batch: 'batch' } }, /^LayoutError\[stages\] .*a pipeline of 2 stages, and no dim lies on mesh axis "stage"[^]*fix +lay the stages and their layers on it: layout: \{ stage: 'stage', layers: 'stage' \}/],
  [{ mesh: { batch: 4, stage: 2 } }, /^LayoutError\[microbatches\] .*the 2 rows of a pipeline's microbatch cannot be cut into 4 equal parts[^]*fix +use fewer microbatches in the pipeline, or make batch a multiple of 16/],
] as const)('a run with %j', (change, expected) => {
  const run = formed({ mesh: { batch: 2, stage: 2 }, layout: { batch: 'batch', stage: 'stage', layers: 'stage' }, pipeline: { stages: 2, microbatches: 4 }, ...change })
  expect(message(() => planRun(run))).toMatch(expected)
})

test('a plan says how stages take turns', () => {
  const { plan: found } = planRun(formed({ mesh: { batch: 2, stage: 2 }, layout: { batch: 'batch', stage: 'stage', layers: 'stage' }, pipeline: { stages: 2, microbatches: 4, schedule: '1f1b' } }))
  expect(found.pipeline).toEqual({ schedule: '1f1b', stages: 2, microbatches: 4, idle: 0.2 })
})
