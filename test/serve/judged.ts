/** What others made of tasks and metrics, and how far ours is from it. */
import { readFile } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { addBleu, bleu, bleuSums, noBleu } from '../../src/serve/metrics/bleu.ts'
import { addChrf, chrf, chrfSums, noChrf } from '../../src/serve/metrics/chrf.ts'
import { classMetrics } from '../../src/serve/metrics/classes.ts'
import { pearson, spearman } from '../../src/serve/metrics/correlation.ts'
import { exactMatch } from '../../src/serve/metrics/words.ts'

type Numbers = { readonly [name: string]: number }
export interface Judged {
  readonly metrics: {
    readonly texts: { readonly items: readonly (readonly [string, readonly string[]])[]; readonly corpus: Numbers; readonly each: readonly Numbers[] }
    readonly answers: readonly (readonly [string, readonly string[], boolean])[]
    readonly classes: { readonly confusion: readonly (readonly number[])[]; readonly accuracy: number; readonly macro_f1: number }
    readonly correlation: { readonly x: readonly number[]; readonly y: readonly number[]; readonly pearson: number; readonly spearman: number }
  }
  readonly tasks: { readonly [name: string]: { readonly items: readonly { readonly [field: string]: unknown }[]; readonly metrics: Numbers } }
}
export const fixture: string = fileURLToPath(new URL('golden/judged.json', import.meta.url))
export const readJudged = (): Judged => JSON.parse(readFileSync(fixture, 'utf8')) as Judged

const far = (a: number | undefined, b: number | undefined): number => { const d = Math.abs((a ?? NaN) - (b ?? NaN)) / Math.max(1, Math.abs(b ?? NaN)); return Number.isNaN(d) ? Infinity : d }

/** How far each of our metrics is from others'. */
export function metricDifferences({ metrics: { texts, answers, classes, correlation } }: Judged): number[] {
  const of = (items: Judged['metrics']['texts']['items']): Numbers => ({
    exact_match: items.filter(([o, a]) => exactMatch(o, a)).length / items.length,
    bleu: bleu(items.map(([o, a]) => bleuSums(o, a)).reduce(addBleu, noBleu)), chrf: chrf(items.map(([o, a]) => chrfSums(o, a)).reduce(addChrf, noChrf)),
  })
  const told = classMetrics(classes.confusion)
  return [
    ...Object.entries(texts.corpus).map(([name, wanted]) => far(of(texts.items)[name], wanted)),
    ...texts.items.flatMap((item, i) => Object.entries(texts.each[i] ?? { none: NaN }).map(([name, wanted]) => far(of([item])[name], wanted))),
    ...answers.map(([output, right, is]) => (exactMatch(output, right) === is ? 0 : Infinity)),
    far(told.accuracy, classes.accuracy), far(told.macroF1, classes.macro_f1),
    far(pearson(correlation.x, correlation.y), correlation.pearson), far(spearman(correlation.x, correlation.y), correlation.spearman),
  ]
}

/** The most that anything in a folder of results differs from what others found; infinite where texts, places or numbers of items do. */
export async function differences({ tasks }: Judged, name: string, out: string): Promise<number> {
  const task = tasks[name]
  const lines = (await readFile(join(out, 'items.jsonl'), 'utf8')).trim().split('\n').map(line => JSON.parse(line) as { readonly [field: string]: unknown })
  const report = JSON.parse(await readFile(join(out, 'report.json'), 'utf8')) as { readonly metrics: Numbers }
  if (task === undefined || lines.length !== task.items.length) return Infinity
  const between = (found: unknown, wanted: unknown): number => {
    if (typeof wanted === 'number') return far(Number(found), wanted)
    if (Array.isArray(wanted)) return Array.isArray(found) && found.length === wanted.length ? Math.max(0, ...wanted.map((w, i) => between(found[i], w))) : Infinity
    return found === wanted ? 0 : Infinity
  }
  return Math.max(
    ...task.items.flatMap((wanted, i) => Object.entries(wanted).map(([field, value]) => between(lines[i]?.[field], value))),
    ...Object.entries(task.metrics).map(([metric, wanted]) => far(report.metrics[metric], wanted)),
  )
}
