/** How a step may be run beside how it is laid: what is computed again, in how many parts the batch goes through, and through which pipeline. */
import type { Pins, Staged, Variant } from '../autolayout/index.ts'
import { isPart } from '../core/configurable.ts'
import { MeshworkError } from '../core/errors.ts'
import { keysAt, type Described } from '../core/fields.ts'
import type { Dim } from '../core/dim.ts'
import { partsOf } from '../core/mesh.ts'
import { donationPairs, graphOf, leavesOf, type Tree } from '../engine/index.ts'
import type { PipelineConfig } from '../models/index.ts'
import { stateOf, trainStep, type TrainState } from './program.ts'
import { fieldsOf, modelOf, withFields, type Run } from './run.ts'
import { trainerConfig } from './session.ts'

export type Remat = NonNullable<PipelineConfig['remat']>
export const rematText = (remat: Remat): string => (typeof remat === 'string' ? remat : `keeps ${['what enters layers', ...remat.keep].join(', ')}`)
/** Fields of a model that a search changes: `pipeline` is null where it is taken away; blocks of attention are loops whose turns are counted as they run, which stages cannot have. */
export interface ModelFields { readonly pipeline?: PipelineConfig | null; readonly blockwise?: 0 }
export interface Way { readonly run: Run; readonly model: ModelFields; readonly dims: readonly Dim[]; readonly idle: number; readonly graph: () => ReturnType<typeof graphOf> }

const remats: readonly Remat[] = ['nothing', 'all-but-contractions', 'everything']
/** Microbatches that are tried: powers of two that divide a batch. */
const partsOfBatch = (batch: number): number[] => [1, 2, 4, 16, 64].filter(m => batch % m === 0 && m <= batch)

interface Pipelining { readonly layers?: number; readonly pipeline?: PipelineConfig | undefined; readonly blockwise?: number | 'auto' }
const configOf = ({ model }: Run): Pipelining => (isPart<unknown, never>(model) ? model.config as Pipelining : {})
export const pipelineOf = (run: Run): PipelineConfig | undefined => configOf(run).pipeline
const mayPipeline = ({ model }: Run): boolean => { const known = isPart<unknown, never>(model) ? keysAt(model.kind.schema as Described, []) : undefined; return Array.isArray(known) && known.includes('pipeline') }
/** What is computed again; stages that go back as soon as they can have a policy of their own. */
export const policyOf = (run: Run): Remat => { const own = pipelineOf(run); return own?.schedule === '1f1b' ? own.remat ?? 'all-but-contractions' : run.remat }

/** The run with other ways: of stages that go back as soon as they can, `remat` is the pipeline's. */
export function runAs(run: Run, { remat, microbatches, model }: { readonly remat: Remat; readonly microbatches: number; readonly model: ModelFields }): Run {
  const fields = fieldsOf(run)
  const isOwn = model.pipeline?.schedule === '1f1b'
  const { pipeline: own, ...config } = (fields['model'] ?? {}) as { readonly pipeline?: unknown }
  const pipeline = model.pipeline === undefined ? own : model.pipeline === null ? undefined : isOwn ? { ...model.pipeline, remat } : model.pipeline
  const changed = { ...config, ...(pipeline === undefined ? {} : { pipeline }), ...(model.blockwise === undefined ? {} : { blockwise: model.blockwise }) }
  return withFields(run, { ...fields, remat: isOwn ? run.remat : remat, microbatches, ...(isPart(run.model) ? { model: changed } : {}) }, 'the search')
}

/** A run's step, traced once it is asked for. */
function variantOf(run: Run, model: ModelFields, worth: (found: readonly Way[]) => boolean): Variant<Way> {
  const [its, config] = [modelOf(run), trainerConfig(run)]
  const args: [TrainState<Tree>, Tree] = [stateOf(its, config), its.batch]
  const taken = leavesOf(args[0]).length
  let graph: ReturnType<typeof graphOf> | undefined
  const traced = (): ReturnType<typeof graphOf> => graph ??= graphOf(trainStep(its, config), args)
  return {
    of: { run, model, dims: Object.values(its.dims), idle: its.pipeline?.idle ?? 0, graph: traced }, again: JSON.stringify(policyOf(run)), graph: traced, donations: local => donationPairs(local, Array.from({ length: taken }, (_, i) => i)), worth,
    refuses: (layouts, mesh) => {
      const axes = [layouts.layout['batch'] ?? []].flat()
      const rows = run.batch / run.microbatches / (its.pipeline?.microbatches ?? 1)
      return rows % partsOf(mesh, axes) === 0 ? undefined : `the ${rows} rows of a microbatch cannot be cut into ${partsOf(mesh, axes)} equal parts`
    },
  }
}

const keyOf = (pipeline: PipelineConfig | undefined): string => { const { remat: _, ...own } = pipeline ?? {}; return JSON.stringify(own) }
const countOf = ({ stages }: PipelineConfig): number => (typeof stages === 'number' ? stages : stages.length)

/** The run in a pipeline, or in none, with every policy of what is computed again, its own first; and with microbatches where it has no pipeline. */
export function stagedOf(run: Run, pipeline: PipelineConfig | undefined): Staged<Way> {
  const own = pipelineOf(run)
  const isOwn = keyOf(pipeline) === keyOf(own)
  const { blockwise = 0 } = configOf(run)
  const blocks = pipeline !== undefined && own === undefined && blockwise !== 0 ? { blockwise: 0 as const } : {}
  const model = (remat: Remat): ModelFields => {
    if (pipeline === undefined) return own === undefined ? {} : { pipeline: null }
    const { remat: _, ...plain } = pipeline
    return { pipeline: pipeline.schedule === '1f1b' ? { ...plain, remat } : plain, ...blocks }
  }
  const policy = policyOf(run)
  // What a run can say is less than what stages can.
  const first: Remat = typeof policy === 'string' || pipeline?.schedule === '1f1b' ? policy : run.remat
  const ways = [[first, run.microbatches] as const, ...(pipeline === undefined ? partsOfBatch(run.batch) : [run.microbatches]).flatMap(m => remats.map(remat => [remat, m] as const))]
  const variants = [...new Map(ways.map(([remat, m]) => [`${JSON.stringify(remat)} ${m}`, [remat, m] as const])).values()].map(([remat, microbatches], i) => {
    const fields = model(remat)
    // Parts one after another take less memory and no less time: they are for what does not fit with everything kept.
    return variantOf(i === 0 && isOwn ? run : runAs(run, { remat, microbatches, model: fields }), fields, found => microbatches <= run.microbatches || !found.some(w => policyOf(w.run) === 'nothing' && w.run.microbatches < microbatches))
  })
  const [its] = variants
  return { key: keyOf(pipeline), stages: pipeline === undefined ? 1 : countOf(pipeline), idle: its?.of.idle ?? 0, dims: its?.of.dims ?? [], variants }
}

/** Whether fixed rules say how stages lie: then the pipeline is what the run says. */
export const stagesAreSaid = (pins: Pins | undefined): boolean => [pins?.layout, pins?.params, pins?.state].some(rules => rules !== undefined && ('stage' in rules || 'layers' in rules))

/** The pipelines next to one, by its key: more stages or fewer, more microbatches or fewer, another schedule, none. */
export function pipelinesBeside(run: Run, devices: number): (key: string) => readonly Staged<Way>[] {
  if (!mayPipeline(run)) return () => []
  const { layers = 0 } = configOf(run)
  const rows = run.batch / run.microbatches
  const known = new Map<string, PipelineConfig | undefined>([[keyOf(pipelineOf(run)), pipelineOf(run)]])
  const can = (p: PipelineConfig): boolean => {
    const [n, rounds] = [countOf(p), p.schedule === 'circular' ? p.rounds ?? 2 : 1]
    return n >= 2 && devices % n === 0 && layers % (n * rounds) === 0 && rows % p.microbatches === 0 && (p.schedule !== 'circular' || p.microbatches % n === 0)
  }
  const next = (p: PipelineConfig | undefined): (PipelineConfig | undefined)[] => {
    if (p === undefined) {
      return [2, 4, 8].flatMap(stages => {
        const microbatches = [4 * stages, 2 * stages, stages].find(m => rows % m === 0)
        return microbatches === undefined ? [] : [{ stages, microbatches, schedule: '1f1b' as const }]
      })
    }
    const n = countOf(p)
    const { rounds: _, ...plain } = p
    const others: PipelineConfig[] = (['1f1b', 'gpipe', 'circular'] as const).filter(s => s !== (p.schedule ?? 'gpipe')).map(schedule => ({ ...plain, schedule, ...(schedule === 'circular' ? { rounds: 2 } : {}) }))
    return [{ ...p, stages: 2 * n }, { ...p, microbatches: 2 * p.microbatches }, undefined, ...(n % 2 === 0 ? [{ ...p, stages: n / 2 }] : []), ...(p.microbatches % 2 === 0 ? [{ ...p, microbatches: p.microbatches / 2 }] : []), ...others]
  }
  return key => next(known.get(key)).filter(p => p === undefined || can(p)).flatMap(p => {
    known.set(keyOf(p), p)
    try { return [stagedOf(run, p)] } catch (e) { if (e instanceof MeshworkError) return []; throw e }
  })
}
