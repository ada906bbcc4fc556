/** A run: everything that training needs to know, as values that a TypeScript file exports. */
import type { z } from 'zod'
import { isPart, type Part } from '../core/configurable.ts'
import type { TypedArray } from '../core/dtype.ts'
import { formatShape } from '../core/dim.ts'
import { LayoutError, UsageError } from '../core/errors.ts'
import { fieldError } from '../core/fields.ts'
import type { Layout, LayoutFrom, LayoutNames, Layouts } from '../core/layout.ts'
import { mesh as meshOf, type Mesh } from '../core/mesh.ts'
import type { Plain } from '../core/plain.ts'
import type { OpenableData, OpenData } from '../data/part.ts'
import type { DataSource } from '../data/store/source.ts'
import { fp8, leavesOf, type AnyTensor, type Outcome, type Tree } from '../engine/index.ts'
import { filesOf, type AnyModel, type BuildOptions, type Model, type ModelFiles } from '../models/index.ts'
import { withStateDtype, type Optimizer, type Transformation } from '../optim/index.ts'
import type { TrainEvent } from './events.ts'
import type { OptimizerOptions } from './optimizers.ts'
import { runSchema, type Settings, type SettingsInput } from './run-schema.ts'

/** A batch as it lies in the memory of a host: where the model's has a tensor, an array of rows, one after another. */
export type HostBatch<B> = Tree extends B ? unknown : B extends AnyTensor ? TypedArray : { readonly [K in keyof B]: HostBatch<B[K]> }
/** What a run's data may be: ours, configured or not, or a source of one's own. */
export type RunData<B> = DataSource<B> | OpenableData<B> | Part<OpenableData<B>, void>
/** Hears everything that a run tells. What it throws ends the run. */
export type Hook = (event: TrainEvent) => void

type Axes = { readonly [axis: string]: number }
/** Rules over D, the dims of the model, A, the axes of the mesh, and N, the layouts that the model names. */
interface RulesOf<D extends string, A extends string, N extends string> {
  readonly layout?: Layout<D, A>
  readonly params?: LayoutFrom<D, A, N>
  readonly state?: LayoutFrom<D, A, N>
  readonly gradients?: LayoutFrom<D, A, N>
  /** In what numbers cross an axis that are summed or gathered along it. */
  readonly wire?: { readonly [axis in A]?: 'bf16' | 'int8' }
  readonly layouts?: [N] extends [never] ? undefined : { readonly [K in N]?: LayoutFrom<D, A, N> }
}
type NamesOf<M extends AnyModel> = M extends { readonly layouts?: infer L } ? L : unknown

/** A run as a recipe writes it: its layouts speak of the model's dims, its own mesh's axes and the names that the model uses, and its data gives what the model takes, or it does not compile. */
export type RunOf<M extends AnyModel, A extends Axes> = Omit<SettingsInput, 'mesh' | 'layout' | 'params' | 'state' | 'gradients' | 'layouts' | 'wire' | 'batch'> & {
  /** One of ours with its configuration, one's own by `configurable`, or a model as it is. */
  readonly model: M | Part<M, BuildOptions>
  readonly data: RunData<HostBatch<NoInfer<M>['batch']>>
  /** Instead of what the data holds out. */
  readonly heldOut?: DataSource<HostBatch<NoInfer<M>['batch']>>
  readonly optimizer: Optimizer | Part<Optimizer, OptimizerOptions>
  /** Examples a step; a model that is given as it is says so itself. */
  readonly batch?: number
  readonly mesh?: A
  readonly hooks?: readonly Hook[]
} & RulesOf<NoInfer<keyof M['dims'] & string>, NoInfer<keyof A & string>, NoInfer<keyof NamesOf<M> & string>>

/** A run with nothing left open. */
export interface Run extends Settings {
  readonly model: AnyModel | Part<AnyModel, BuildOptions>
  readonly data: RunData<unknown>
  readonly heldOut?: DataSource<unknown> | undefined
  readonly optimizer: Optimizer | Part<Optimizer, OptimizerOptions>
  readonly hooks: readonly Hook[]
}

const parts = ['model', 'data', 'optimizer'] as const
/** Those parts of a run that have a schema. */
const configured = (run: Pick<Run, (typeof parts)[number]>): readonly (readonly [name: string, part: Part<unknown, never>])[] =>
  parts.flatMap(name => { const part: unknown = run[name]; return isPart(part) ? [[name, part as Part<unknown, never>] as const] : [] })

export const schemaOf = (run: Pick<Run, (typeof parts)[number]>): z.ZodType<Settings & { readonly [part: string]: unknown }> =>
  runSchema(Object.fromEntries(configured(run).map(([name, part]) => [name, part.kind.schema as unknown as z.ZodType])))

/** Checks a run and fills in what it leaves open. @throws UsageError naming the field. */
export function defineRun<M extends AnyModel, const A extends Axes = { readonly batch: 1; readonly model: 1 }>(run: RunOf<M, A>): Run {
  const { model, data, heldOut, optimizer, hooks = [], ...settings } = run
  for (const part of parts) if (typeof run[part] !== 'object' || run[part] === null) throw new UsageError({ code: 'field', what: `the recipe: ${part} is ${run[part] === undefined ? 'missing' : 'none'}`, fix: needs[part] })
  const given = { model, data, optimizer, hooks, ...(heldOut === undefined ? {} : { heldOut }) } as Pick<Run, 'model' | 'data' | 'optimizer' | 'hooks' | 'heldOut'>
  const own = isPart(model) ? undefined : (model as AnyModel).itemsPerBatch
  if (own !== undefined && settings.batch !== undefined && settings.batch !== own) throw new UsageError({ code: 'field', what: `the recipe: batch is ${settings.batch}, and the model is for batches of ${own}`, fix: 'leave batch out, or build the model for it' })
  return checked(given, { ...settings, ...(own === undefined ? {} : { batch: own }), ...Object.fromEntries(configured(given).map(([name, part]) => [name, part.config])) }, 'the recipe')
}
const needs = {
  model: 'give a model, such as gptModel({ … }) of meshwork/models', data: 'give what its batches come from, such as textData({ files: [\'novel.txt\'] })', optimizer: 'give an optimizer, such as adamwCosine({ rate: 1e-3 })',
}

/** Whether a value was made by `defineRun`, as far as can be seen: a recipe's copy of Meshwork may be another one. */
export const isRun = (x: unknown): x is Run => typeof x === 'object' && x !== null && ['name', 'model', 'data', 'optimizer', 'steps', 'guard', 'checkpoint', 'hooks'].every(field => field in x)

/** The same run with other fields, all of them given as `fieldsOf` gives them. @throws UsageError naming the first field that is wrong; `where` says who gave them */
export const withFields = (run: Run, fields: unknown, where: string): Run => checked(run, fields, where)

function checked(given: Pick<Run, 'model' | 'data' | 'optimizer' | 'hooks' | 'heldOut'>, fields: unknown, where: string): Run {
  const schema = schemaOf(given)
  const parsed = schema.safeParse(fields)
  if (!parsed.success) throw fieldError(schema, fields, parsed.error.issues[0], where)
  const { batch, microbatches } = parsed.data
  if (batch % microbatches !== 0) throw new UsageError({ code: 'field', what: `${where}: microbatches is ${microbatches}, which does not divide batch, ${batch}`, fix: 'give it a number that does' })
  const built = Object.fromEntries(configured(given).map(([name, part]) => [name, part.with(parsed.data[name])]))
  const run: Run = { ...given, ...parsed.data, ...built }
  if (!isPart(given.model) && batch !== given.model.itemsPerBatch) throw new UsageError({ code: 'field', what: `${where}: batch is ${batch}, and the model is for batches of ${given.model.itemsPerBatch}`, fix: 'build the model for it: a model with a schema of its own can be' })
  return run
}

const partNames: readonly string[] = [...parts, 'heldOut', 'hooks']
/** The fields of a run as plain data: its settings, and the configurations of its parts. */
export const fieldsOf = (run: Run): { readonly [field: string]: unknown } => ({
  ...Object.fromEntries(Object.entries(run).filter(([name]) => !partNames.includes(name))), ...Object.fromEntries(configured(run).map(([name, part]) => [name, part.config])),
})

/** The model of a run. */
export function modelOf({ model, batch, precision }: Run): Model<Tree, Tree> {
  const built = (isPart(model) ? model.build({ batch, precision }) : model) as unknown as Model<Tree, Tree>
  return precision.contractions === 'fp8' ? inEightBits(built) : built
}

/** The model whose loss contracts with weights in 8 bits. @throws UsageError where its gradients are not made of its loss */
function inEightBits(model: Model<Tree, Tree>): Model<Tree, Tree> {
  if (model.pipeline?.schedule === '1f1b') throw new UsageError({ code: 'field', what: 'precision.contractions is fp8, and stages of the schedule 1f1b make their gradients themselves, of contractions as they were', fix: 'take the schedule gpipe or circular, or precision.contractions=compute' })
  return {
    ...model,
    loss: (params, batch, key) => fp8((p: Tree, b: Tree): Tree => {
      const { weight, metrics, updates, ...rest } = model.loss(p, b, key)
      return { ...rest, ...(weight === undefined ? {} : { weight }), ...(metrics === undefined ? {} : { metrics: metrics as Tree }), ...(updates === undefined ? {} : { updates }) }
    })(params, batch) as unknown as Outcome,
  }
}

/** How a run's model lies in files that other tools open; undefined where it is one of nobody else's. */
export const filesOfRun = ({ model }: Run, built: Pick<AnyModel, 'params' | 'linear'>): ModelFiles | undefined => (isPart(model) ? filesOf(model, built) : undefined)

/** A run whose number of steps is known. */
export type CountedRun = Run & { readonly steps: number }

/**
 * The run with its steps counted: a budget of tokens by the model's batch, epochs by what the data says of itself.
 * @throws UsageError where the data does not know what an epoch is
 */
export function counted(run: Run, { tokensPerBatch, itemsPerBatch }: Pick<AnyModel, 'tokensPerBatch' | 'itemsPerBatch'>, data: Pick<OpenData<unknown>, 'stepsFor'>): CountedRun {
  const { steps } = run
  if (typeof steps === 'number') return { ...run, steps }
  if ('tokens' in steps) return { ...run, steps: Math.ceil(steps.tokens / (tokensPerBatch ?? itemsPerBatch)) }
  if (data.stepsFor === undefined) throw new UsageError({ code: 'field', what: 'steps is said in epochs, and the data does not say how long one is', fix: 'give a number of steps, or the data a stepsFor({ epochs })' })
  return { ...run, steps: data.stepsFor({ epochs: steps.epochs }) }
}

/** The optimizer of a run, with its slots in the run's dtype; where the run's steps are not counted yet, with a schedule of one step. @throws UsageError where that cannot be */
export function optimizerOf({ optimizer, steps: length, precision }: Run): Optimizer {
  const steps = typeof length === 'number' ? length : 1
  const built = isPart<Optimizer, OptimizerOptions>(optimizer) ? optimizer.build({ steps }) : optimizer
  if ('rule' in built && precision.state !== precision.params) return withStateDtype(built as Transformation, precision.state) as Optimizer
  if (precision.state !== precision.params && precision.state !== 'f32') throw new UsageError({ code: 'field', what: `precision.state is ${precision.state}, and the optimizer "${built.description.name}" is none that can be told`, fix: 'leave precision.state out: its slots say their dtype' })
  return built
}

/** The layouts of a run, and the names that its model uses. */
export const layoutsOf = ({ layout, params, state, gradients, layouts, wire }: Run, { layouts: uses }: { readonly layouts?: LayoutNames }): Layouts & Pick<Run, 'wire'> => ({ layout, params, state, gradients, layouts, wire, ...(uses === undefined ? {} : { uses }) })
/**
 * Every device has rows of every microbatch; else some would compute what others do, and nobody would see it.
 * @throws LayoutError where the axes that the batch lies on do not divide a microbatch
 */
export function checkMicrobatches({ batch, microbatches, layout, mesh }: Pick<Run, 'batch' | 'microbatches' | 'layout' | 'mesh'>): void {
  const axes = [layout['batch'] ?? []].flat()
  const parts = axes.reduce((n, axis) => n * (mesh[axis] ?? 1), 1)
  const rows = batch / microbatches
  if (microbatches === 1 || rows % parts === 0) return
  const most = Array.from({ length: microbatches }, (_, i) => microbatches - i).find(m => batch % (m * parts) === 0)
  throw new LayoutError({
    code: 'microbatches', what: `the ${rows} row${rows === 1 ? '' : 's'} of a microbatch cannot be cut into ${parts} equal parts`,
    details: { batch: `${batch} in ${microbatches} microbatches`, rules: `batch → ${axes.join(', ')}` },
    fix: most === undefined ? `make batch a multiple of ${parts * microbatches}, or split it over fewer devices` : `use ${most} microbatch${most === 1 ? '' : 'es'}, or make batch a multiple of ${parts * microbatches}`,
  })
}
/**
 * A pipeline has an axis for its stages, and every device rows of every microbatch that goes through them.
 * @throws LayoutError where no dim lies on an axis of the mesh, or the batch's axes do not divide a microbatch
 */
export function checkPipeline(run: Pick<Run, 'batch' | 'microbatches' | 'layout' | 'params' | 'state' | 'layouts' | 'mesh'>, { pipeline }: Pick<AnyModel, 'pipeline'>): void {
  if (pipeline === undefined) return
  const used = new Set([run.layout, run.params, run.state, ...Object.values(run.layouts)].flatMap(rules => Object.entries(rules).flatMap(([name, axes]) => (name === 'from' ? [] : [axes ?? []].flat()))))
  const idle = Object.entries(run.mesh).find(([axis, size]) => size > 1 && !used.has(axis))
  if (idle !== undefined && run.layout['stage'] === undefined) {
    throw new LayoutError({
      code: 'stages', what: `the model is a pipeline of ${pipeline.stages} stages, and no dim lies on mesh axis "${idle[0]}"`, details: { mesh: Object.entries(run.mesh).map(([axis, size]) => `${axis}=${size}`).join(' × ') },
      fix: `lay the stages and their layers on it: layout: { stage: '${idle[0]}', layers: '${idle[0]}' }`,
    })
  }
  const axes = [run.layout['batch'] ?? []].flat()
  const parts = axes.reduce((n, axis) => n * (run.mesh[axis] ?? 1), 1)
  const rows = run.batch / run.microbatches / pipeline.microbatches
  if (!Number.isInteger(rows) || rows % parts === 0) return
  throw new LayoutError({
    code: 'microbatches', what: `the ${rows} row${rows === 1 ? '' : 's'} of a pipeline's microbatch cannot be cut into ${parts} equal parts`,
    details: { batch: `${run.batch / run.microbatches} in ${pipeline.microbatches} microbatches`, rules: `batch → ${axes.join(', ')}` }, fix: `use fewer microbatches in the pipeline, or make batch a multiple of ${parts * run.microbatches * pipeline.microbatches}`,
  })
}
/** The mesh of a run. */
export const meshOfRun = (run: Pick<Run, 'mesh'>): Mesh => meshOf(run.mesh)

/** Fields that say where and how long a run is computed, or what is looked at: they change none of its numbers, but that a guard says what becomes of a bad step, for which a run may be gone on with. */
const changeable: readonly string[] = ['name', 'mesh', 'layout', 'params', 'state', 'gradients', 'layouts', 'steps', 'evaluation', 'checkpoint', 'guard', 'initFrom', 'sample', 'wire']

/** What decides a run's numbers, as plain data, but for what its data says itself: two runs with the same go on from each other's checkpoints. Neither mesh nor layout is in it. */
export function identityOf(run: Run): { readonly [field: string]: Plain } {
  const numbers = Object.entries(fieldsOf(run)).filter(([name]) => !changeable.includes(name) && name !== 'data') as [string, Plain][]
  const declared = isPart(run.model) ? {} : { model: Object.fromEntries(leavesOf(modelOf(run).params).map(({ path, leaf }) => [path, `${leaf.dtype} ${formatShape(leaf.shape)}`])) }
  // What crosses in fewer bits are other numbers; a run that says nothing of it is what it was before it could.
  return { ...Object.fromEntries(numbers), ...(Object.keys(run.wire).length === 0 ? {} : { wire: run.wire }), ...declared, optimizer: optimizerOf(run).description }
}
