/** One small run, and the ways to split it: what must not change its numbers. */
import { fileURLToPath } from 'node:url'
import { textData } from '../../src/data/index.ts'
import { gptModel, type PipelineConfig } from '../../src/models/index.ts'
import { adamwCosine, defineRun } from '../../src/train/index.ts'
import type { CountedRun } from '../../src/train/run.ts'

// This repository's own words: a text that is there on every machine.
const text = fileURLToPath(new URL('../../LICENSE', import.meta.url))
const steps = 8
const model = (more: { readonly dropout: number; readonly pipeline?: PipelineConfig }) => gptModel({ vocab: 272, seq: 16, layers: 2, embed: 16, heads: 4, headDim: 4, hidden: 32, ...more })
const run = (dropout: number): CountedRun => ({ ...defineRun({
  name: 'small', batch: 8, steps, seed: 3, evaluation: { every: 4, batches: 1 }, data: textData({ files: [text] }),
  model: model({ dropout }),
  mesh: { batch: 1, model: 1 }, layout: { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' }, optimizer: adamwCosine({ rate: 3e-3, warmup: 2 }),
}), steps })
/** A small run of one device. */
export const small: CountedRun = run(0.1)
/** The same without dropout. */
export const dry: CountedRun = run(0)
/** Without dropout, and wide enough that layers are summed one by one where collectives go on beside the work. */
export const wide: CountedRun = { ...dry, steps: 4, model: gptModel({ vocab: 272, seq: 16, layers: 3, embed: 64, heads: 4, headDim: 16, hidden: 128, dropout: 0 }) }
/** Those of two devices that begin collectives in one turn of a loop and wait for them in another, or beside products. */
export const overlapping: readonly Form[] = [
  { mesh: { batch: 2, model: 1 } }, { mesh: { batch: 2, model: 1 }, params: { embed: 'batch' } }, { mesh: { batch: 1, model: 2 } }, { mesh: { batch: 2, model: 1 }, state: { embed: 'batch' }, wire: { batch: 'int8' } },
  { mesh: { batch: 1, model: 2 }, layouts: { residual: { from: 'compute', seq: 'model' } } },
]
/** A form of parallelism: a mesh and a layout, and the pipeline that its layers go through. */
export type Form = Partial<Omit<CountedRun, 'model'>> & { readonly pipeline?: PipelineConfig }
/** The run in a form. */
export const formed = ({ pipeline, ...change }: Form, run: CountedRun = small): CountedRun =>
  ({ ...run, ...change, ...(pipeline === undefined ? {} : { model: model({ pipeline, dropout: run === dry ? 0 : 0.1 }) }) })
/** The forms of parallelism: meshes and layouts of the same run. */
export const forms: readonly Form[] = [
  { mesh: { batch: 2, model: 1 } }, { mesh: { batch: 1, model: 2 } }, { mesh: { batch: 2, model: 2 } }, { mesh: { batch: 4, model: 1 } },
  { mesh: { batch: 1, model: 4 } }, { mesh: { batch: 2, model: 4 } },
  { mesh: { batch: 4, model: 1 }, params: { embed: 'batch' } },
  { mesh: { batch: 2, model: 2 }, state: { embed: 'batch' } },
  { mesh: { batch: 2, model: 2 }, layout: { batch: ['batch', 'model'] } },
  { mesh: { batch: 2, model: 2 }, layouts: { residual: { from: 'compute', seq: 'model' } } },
  { mesh: { replica: 2, batch: 2, model: 2 }, layout: { batch: ['replica', 'batch'], heads: 'model', hidden: 'model', vocab: 'model' } },
  { mesh: { batch: 2, stage: 2 }, layout: { batch: 'batch', stage: 'stage', layers: 'stage' }, pipeline: { stages: 2, microbatches: 2 } },
  { mesh: { batch: 2, model: 2, stage: 2 }, layout: { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model', stage: 'stage', layers: 'stage' }, pipeline: { stages: 2, microbatches: 4, schedule: '1f1b' } },
  // Ranks of a stage that has nothing to do leave out the collectives of those that have.
  { mesh: { model: 2, stage: 2 }, layout: { heads: 'model', hidden: 'model', vocab: 'model', stage: 'stage', layers: 'stage' }, pipeline: { stages: 2, microbatches: 4 } },
  { mesh: { model: 2, stage: 2 }, layout: { heads: 'model', hidden: 'model', vocab: 'model', stage: 'stage', layers: 'stage' }, pipeline: { stages: 2, microbatches: 2, schedule: '1f1b' } },
]
