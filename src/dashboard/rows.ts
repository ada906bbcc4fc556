/** Lines of metrics.jsonl and journal.jsonl as what they tell. */
import type { EvalRow, PlanEvent, StepRow } from '../train/events.ts'
import type { JournalEntry } from '../train/journal.ts'
import type { Mark } from './shape.ts'
import type { Row } from './spans.ts'

type Fields = Readonly<Record<string, unknown>>
/** Numbers that JSON lacks are written as text. */
export const numberIn = (x: unknown): number => (typeof x === 'number' ? x : x === 'Infinity' || x === '-Infinity' ? Number(x) : NaN)

/** A step; undefined where the line is of something else. */
export function rowIn(fields: Fields): Row | undefined {
  const time = fields['time'] as Fields | null | undefined
  if (typeof fields['step'] !== 'number' || typeof time !== 'object' || time === null || fields['type'] !== undefined) return undefined
  const at = (name: string): number => numberIn(fields[name])
  return {
    step: fields['step'], seen: at('seen'),
    values: {
      loss: at('loss'), gradNorm: at('gradNorm'), updateNorm: at('updateNorm'), paramNorm: at('paramNorm'), learningRate: at('learningRate'), lossScale: at('lossScale'),
      stepMs: numberIn(time['stepMs']), dataWaitMs: numberIn(time['dataWaitMs']), perSecond: numberIn(time['perSecond']), ofPeak: numberIn(time['ofPeak']),
    },
  }
}
export const evaluationIn = (fields: Fields): EvalRow | undefined => (typeof fields['step'] === 'number' && 'evalLoss' in fields ? fields as unknown as EvalRow : undefined)
export const stepRowIn = (fields: Fields): StepRow => fields as unknown as StepRow

/** What a line of the metrics marks in a run. */
export const markIn = (fields: Fields): Mark | undefined => (typeof fields['step'] === 'number' && (fields['type'] === 'skipped' || fields['type'] === 'rewind') ? fields as unknown as Mark : undefined)

/** What a line of the journal marks. */
export function journalMark(fields: Fields): Mark | undefined {
  const entry = fields as unknown as JournalEntry
  if (entry.type === 'start') return { type: 'start', step: entry.from, at: entry.at, from: entry.from, ...(entry.checkpoint === undefined ? {} : { checkpoint: entry.checkpoint }) }
  return entry.type === 'plan' || typeof (entry as { readonly step?: unknown }).step !== 'number' ? undefined : entry
}
export const planIn = (fields: Fields): PlanEvent | undefined => (fields['type'] === 'plan' ? fields as unknown as PlanEvent : undefined)
export const startIn = (fields: Fields): (JournalEntry & { readonly type: 'start' }) | undefined => (fields['type'] === 'start' ? fields as unknown as JournalEntry & { readonly type: 'start' } : undefined)
