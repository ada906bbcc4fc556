/** What `generate`, `chat` and `serve` make of a folder: a model that writes, over a mesh, with the template of its chats. */
import type { Command } from 'commander'
import type { DType } from '../core/dtype.ts'
import { UsageError } from '../core/errors.ts'
import type { ChatTemplate } from '../data/index.ts'
import type { Backend } from '../engine/index.ts'
import type { Sampling } from '../serve/asking.ts'
import { greedy } from '../serve/generate.ts'
import { weightBits, type WeightBits } from '../serve/loading.ts'
import { openAnswering, type Generating, type Opened, type OpenOptions } from '../serve/open.ts'
import { readRunFile } from '../train/folder.ts'
import { readPretrained, type Pretrained } from '../pretrained/pretrained.ts'
import { modelOf, type Run } from '../train/run.ts'
import { checkRun } from './check.ts'
import { templateIn } from '../pretrained/model-files.ts'
import { applyFlags, seedOf, temperatureOf, wholeNumber, type MeshFlags } from './overrides.ts'
import { generatingOf, runOfModel } from './pretrained-run.ts'
import { usualLayout } from '../pretrained/layout.ts'

export interface WrittenFlags extends MeshFlags { readonly weights?: string; readonly context?: string; readonly drafts?: string; readonly cache?: string }
export interface SamplingFlags { readonly temperature?: string; readonly topK?: string; readonly topP?: string; readonly minP?: string; readonly repetitionPenalty?: string; readonly seed: string }

export const withSamplingFlags = (command: Command): Command => command
  .option('--temperature <t>', '0 for the likeliest token each time; higher is more varied')
  .option('--top-k <n>', 'draw from so many of the likeliest tokens; 0 for all')
  .option('--top-p <share>', 'draw from the likeliest tokens that together have this share')
  .option('--min-p <share>', 'draw from tokens at least this share as likely as the likeliest')
  .option('--repetition-penalty <x>', 'above 1: tokens that are there already are less likely')
  .option('--seed <n>', 'seed of the drawing', '0')
/** What keys and values may be kept in. */
const cacheTypes: { readonly [name: string]: DType } = { f32: 'f32', bf16: 'bf16', f16: 'f16', int8: 'i8' }
export const withWritingFlags = (command: Command): Command => command
  .option('--weights <bits>', 'int8 or int4: a quarter or an eighth of the memory, for somewhat other text; keep: those of few bits in a .gguf file as they are, for the same text')
  .option('--drafts <n>', 'guess so many tokens from what the text said before, and check them in one step: the same text in fewer steps where it repeats itself', '0')
  .option('--cache <dtype>', `what keys and values are kept in, one of ${Object.keys(cacheTypes).join(', ')}: half the memory, int8 little more than a quarter of it`, 'f32')

function numberOf(text: string, flag: string, least: number, most: number): number {
  const n = Number(text)
  if (text.trim() !== '' && n >= least && n <= most) return n
  throw new UsageError({ code: 'flag', what: `${flag}: "${text}" is not a number from ${least} to ${most}`, fix: `for example ${flag} ${Math.min(most, 0.9)}` })
}

/** @throws UsageError for a number that is none, or out of range */
export function samplingOf({ temperature, topK, topP, minP, repetitionPenalty, seed }: SamplingFlags, usual: Pick<Sampling, 'temperature'>): Sampling {
  return {
    ...greedy, seed: seedOf(seed), temperature: temperature === undefined ? usual.temperature : temperatureOf(temperature),
    ...(topK === undefined ? {} : { topK: wholeNumber(topK, '--top-k') }), ...(topP === undefined ? {} : { topP: numberOf(topP, '--top-p', 1e-9, 1) }), ...(minP === undefined ? {} : { minP: numberOf(minP, '--min-p', 0, 1) }),
    ...(repetitionPenalty === undefined ? {} : { repetitionPenalty: numberOf(repetitionPenalty, '--repetition-penalty', 1e-3, 100) }),
  }
}

function weightsOf(given: string | undefined): WeightBits | 'keep' | undefined {
  if (given === undefined || given === 'keep' || given in weightBits) return given as WeightBits | 'keep' | undefined
  throw new UsageError({ code: 'flag', what: `--weights: "${given}" is no choice`, fix: `give one of ${Object.keys(weightBits).join(', ')}, keep, or leave it out` })
}

function cacheOf(given = 'f32'): DType {
  const found = Object.hasOwn(cacheTypes, given) ? cacheTypes[given] : undefined
  if (found === undefined) throw new UsageError({ code: 'flag', what: `--cache: "${given}" is no choice`, fix: `give one of ${Object.keys(cacheTypes).join(', ')}` })
  return found
}

/** A folder's model, checked, with nothing loaded. */
export interface WrittenModel {
  readonly given: Pretrained
  readonly run: Run
  readonly from: Generating
  readonly template: ChatTemplate | undefined
  readonly devices: number
  open(backend: Backend, options?: Pick<OpenOptions, 'requests' | 'held' | 'chunk' | 'queue' | 'block' | 'turns' | 'newer' | 'adapters'>): Promise<Opened>
}

/**
 * @param most tokens that a text needs, where that is known: the model's own window may be far longer
 * @throws UsageError, FileError, LayoutError for what is wrong with model, flags or layout
 */
export async function writtenModel(folder: string, { batch, model, mesh, layout, weights, context, drafts = '0', cache }: WrittenFlags, most?: (given: Pretrained, own: Run) => Promise<number>): Promise<WrittenModel> {
  const [bits, guesses, kept] = [weightsOf(weights), wholeNumber(drafts, '--drafts', 0, 64), cacheOf(cache)]
  const given = await readPretrained(folder)
  const own = await runOfModel(folder, given, given.positions)
  const asked = context === undefined ? undefined : wholeNumber(context, '--context', 2, given.positions)
  const needed = asked ?? await most?.(given, own) ?? given.positions
  const seq = Math.min(given.positions, 64 * Math.ceil(needed / 64))
  const meshed = applyFlags(seq === given.positions ? own : await runOfModel(folder, given, seq), Object.fromEntries(Object.entries({ batch, model, mesh, layout }).filter(([, v]) => v !== undefined)))
  // What was not trained here has no layout of its own.
  const run = layout === undefined && await readRunFile(folder) === undefined ? { ...meshed, layout: usualLayout(modelOf(meshed).dims, meshed.mesh) } : meshed
  // A device group that splits the batch gets texts of its own.
  const devices = checkRun({ ...run, batch: Object.values(run.mesh).reduce((n, size) => n * size, 1) }, { onHost: false, setsFields: false })
  const from = await generatingOf(given, run)
  return {
    given, run, from, devices, template: await templateIn({ given, tokenizer: from.tokenizer }),
    open: (backend, options = {}) => openAnswering(from, { backend, mesh: run.mesh, layout: run.layout, params: run.params, layouts: run.layouts, weights: bits, context: asked, drafts: guesses, cache: kept, ...options }),
  }
}
