/** A run that costs next to nothing: a perceptron on rows that are a function of step and row, some of which do not count. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { dims, dropout, initialisers, input, openBackend, param, type Key, type Outcome, type Tensor } from '../../src/engine/index.ts'
import { weightedMean } from '../../src/nn/index.ts'
import { adamw, averageParameters, chain, type Transformation } from '../../src/optim/index.ts'
import type { DataSource, OpenData, RowDocument, Rows } from '../../src/data/index.ts'
import { defineRun, train, type HostBatch, type Run, type TrainEvent, type TrainOptions, type TrainResult } from '../../src/train/index.ts'
import type { Model, Precision } from '../../src/models/index.ts'

const rowsOfBatch = 8
const d = dims({ batch: rowsOfBatch, inputs: 4, embed: 8, out: 2 })
type Params = { readonly in: Tensor<'inputs' | 'embed'>; readonly bias: Tensor<'embed'>; readonly out: Tensor<'embed' | 'out'> }
type Batch = { readonly x: Tensor<'batch' | 'inputs'>; readonly y: Tensor<'batch' | 'out'>; readonly counts: Tensor<'batch'> }

/** `dropped`: the share of its hidden layer that is zeroed in training. */
export const tinyModel = (dropped = 0.1, { compute, params: rest }: Precision = { params: 'f32', compute: 'f32' }): Model<Params, Batch, keyof typeof d> => ({
  dims: d, itemsPerBatch: rowsOfBatch,
  params: {
    in: param('in', [d.inputs, d.embed], { init: initialisers.normal(0.5), decays: true, dtype: rest }), bias: param('bias', [d.embed], { init: 0, dtype: rest }),
    out: param('out', [d.embed, d.out], { init: initialisers.normal(0.5), decays: true, dtype: rest }),
  },
  batch: { x: input('x', [d.batch, d.inputs]), y: input('y', [d.batch, d.out]), counts: input('counts', [d.batch]) },
  loss: (p, { x, y, counts }, key?: Key): Outcome => {
    const hidden = x.cast(compute).dot(p.in.cast(compute), d.inputs).add(p.bias.cast(compute)).relu()
    const kept = key === undefined || dropped === 0 ? hidden : dropout(key, hidden, dropped)
    const { value: loss, weight } = weightedMean(kept.dot(p.out.cast(compute), d.embed).cast('f32').sub(y).square().sum(d.out), counts)
    return { loss, weight }
  },
})

const hash = (...n: readonly number[]): number => n.reduce((h, x) => Math.imul(h ^ (x + 0x9e3779b9), 2654435761) >>> 0, 7)
/** From −1 to 1. */
const drawn = (...n: readonly number[]): number => { const h = hash(...n); return ((h ^ (h >>> 15)) >>> 0) / 2 ** 31 - 1 }

const rowDocument = (document: number): RowDocument => ({ store: 'rows', document, from: 0, to: 1, source: undefined }) as unknown as RowDocument
export interface Planted { readonly step: number; /** All of them unless given. */ readonly row?: number; readonly value: number }
/** Batches of a source of one's own, with numbers planted in them; `documentsOfStep` says what they are made of, and `asked` notes what it was asked for. */
export function tinyData(planted: readonly Planted[] = [], asked: { readonly step: number; readonly rows: Rows }[] = []): OpenData<HostBatch<Batch>> {
  const source = (salt: number): DataSource<HostBatch<Batch>> => ({
    batch(step, { from, to }) {
      if (salt === 1) asked.push({ step, rows: { from, to } })
      const [x, y, counts] = [new Float32Array((to - from) * 4), new Float32Array((to - from) * 2), new Float32Array(to - from)]
      for (let row = from; row < to; row++) {
        const at = row - from
        for (let i = 0; i < 4; i++) x[4 * at + i] = drawn(salt, step, row, i)
        for (let i = 0; i < 2; i++) y[2 * at + i] = (x[4 * at + i] ?? 0) - 0.5 * (x[4 * at + 3] ?? 0)
        // Ragged: some rows count not at all, others thrice.
        counts[at] = [1, 0, 3, 1, 2, 0, 0, 1][(row + step) % 8] ?? 0
        const bad = salt !== 1 ? undefined : planted.find(p => p.step === step && (p.row ?? row) === row)
        if (bad !== undefined) { x[4 * at] = bad.value; counts[at] = 1 }
      }
      return { x, y, counts }
    },
  })
  return {
    ...source(1), heldOut: { source: source(2), batches: 2 }, identity: { name: 'rows' },
    documentsOfStep: (step, { from, to } = { from: 0, to: rowsOfBatch }) => Array.from({ length: to - from }, (_, i) => [rowDocument(step * rowsOfBatch + from + i)]),
  }
}

/** AdamW and averages: slots of every kind. */
export const tinyOptimizer = (rate = 0.02): Transformation => chain(adamw({ rate }), averageParameters({ decay: 0.9 })) as Transformation

export const tiny: Run = defineRun({
  name: 'tiny', model: tinyModel(), data: tinyData(), optimizer: tinyOptimizer(), steps: 20, seed: 4, mesh: { batch: 1, model: 1 },
  evaluation: { every: 10 }, checkpoint: { every: 5 },
  layout: { batch: 'batch', embed: 'model' },
})

/** A folder for a test file's runs, removed after it. */
export function runFolder(): (name: string) => string {
  const path = mkdtempSync(join(tmpdir(), 'meshwork-runs-'))
  afterAll(() => rmSync(path, { recursive: true, force: true }))
  return name => join(path, name)
}

export interface Trained extends TrainResult { readonly events: readonly TrainEvent[] }
/** Trains on as many pretend devices as the mesh has. */
export async function trained(run: Run, { devices, ...options }: Omit<TrainOptions, 'backend'> & { readonly devices?: number } = {}): Promise<Trained> {
  const events: TrainEvent[] = []
  await using backend = await openBackend({ plugin: 'simulate', devices: devices ?? Object.values(run.mesh).reduce((a, b) => a * b, 1) })
  const result = await train(run, { backend, ...options, onEvent: e => { events.push(e); options.onEvent?.(e) } })
  return { ...result, events }
}
export const stepsOf = (events: readonly TrainEvent[]): readonly (TrainEvent & { readonly type: 'step' })[] => events.filter(e => e.type === 'step')
export const of = <T extends TrainEvent['type']>(events: readonly TrainEvent[], type: T): readonly Extract<TrainEvent, { type: T }>[] => events.filter((e): e is Extract<TrainEvent, { type: T }> => e.type === type)

/** A run that is left at a step as by a kill: nothing more is written than what was, and the folder is let go. */
export class Killed extends Error {}
export async function killedAt(run: Run, out: string, when: (event: TrainEvent) => boolean, options: Omit<TrainOptions, 'backend' | 'out'> = {}): Promise<void> {
  try {
    await trained(run, { ...options, out, onEvent: e => { if (when(e)) throw new Killed('killed') } })
  } catch (e) {
    if (e instanceof Killed) return
    throw e
  }
  throw new Error('the run ended before it was killed')
}
