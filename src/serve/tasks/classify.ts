/** How well a classifier of texts, or of pairs of them, tells their classes. */
import type { Tokenizer } from '../../data/index.ts'
import { classMetrics } from '../metrics/classes.ts'
import type { Row, RowProgram } from '../rows.ts'
import { itemsOf, requireFinite, type Fields, type Task } from './task.ts'

type Item = { readonly at: string; readonly text: string; readonly pair: string | null; readonly label: number }
type Done = { readonly at: string; readonly label: number; readonly predicted: number; readonly logits: readonly number[]; readonly cut: boolean }

export interface ClassifyOptions {
  /** Gives a logit for each class. */
  readonly program: RowProgram
  readonly tokenizer: Tokenizer
  /** Names of the classes, by their places. */
  readonly labels: readonly string[]
  /** Whether the model is told which text a token is of. */
  readonly typed: boolean
  readonly stretch: number
}

/** A place from 0, or a name. */
function labelOf(fields: Fields, labels: readonly string[]): number {
  const given = fields.raw('label')
  if (given === undefined) throw fields.missing('"label"')
  const place = typeof given === 'string' ? labels.indexOf(given) : typeof given === 'number' ? given : -1
  if (Number.isInteger(place) && place >= 0 && place < labels.length) return place
  throw fields.wrong('label', `the label ${JSON.stringify(given).slice(0, 60)} is no class of the model`, `give one of ${labels.slice(0, 12).join(', ')}${labels.length > 12 ? ', …' : ''}, or its place from 0 to ${labels.length - 1}`)
}

/** How much of two texts stays, so that together they have `room`: tokens are taken from the longer one, as `transformers` does ("longest_first"). */
export function sharesOf(a: number, b: number, room: number): readonly [number, number] {
  if (a + b <= room) return [a, b]
  const [short, long] = [Math.min(a, b), Math.max(a, b)]
  const [less, more] = short <= room - short ? [short, Math.min(long, room - short)] : [Math.floor(room / 2), room - Math.floor(room / 2)]
  return a <= b ? [less, more] : [more, less]
}

export function classifyTask({ program, tokenizer, labels, typed, stretch }: ClassifyOptions): Task<Item, Done> {
  const { before, after, between } = tokenizer
  const rowOf = ({ text, pair }: Item): { readonly row: Row; readonly cut: boolean } => {
    const first = tokenizer.encode(text)
    const second = pair === null ? new Int32Array() : tokenizer.encode(pair)
    const middle = pair === null ? [] : between ?? []
    const room = Math.max(0, program.window - before.length - middle.length - after.length)
    const [a, b] = sharesOf(first.length, second.length, room)
    const tokens = [...before, ...first.slice(0, a), ...middle, ...second.slice(0, b), ...after]
    const from = before.length + a + middle.length
    return { row: { tokens, ...(typed && pair !== null ? { types: tokens.map((_, i) => (i >= from ? 1 : 0)) } : {}) }, cut: a + b < first.length + second.length }
  }
  return {
    name: 'classify', options: {}, stretch,
    read: parts => itemsOf(parts, (fields): Item => {
      const pair = fields.maybe('pair') ?? null
      if (pair !== null && between === undefined) throw fields.wrong('pair', 'an item is a pair of texts, and the tokenizer says nothing of pairs', 'give one text an item, or a tokenizer.json whose post_processor has a pair')
      return { at: fields.at, text: fields.text('text'), pair, label: labelOf(fields, labels) }
    }),
    async measure(items, onItems) {
      const rows = items.map(rowOf)
      const found = await program.run(rows.map(r => r.row), onItems)
      return items.map(({ at, label }, i) => {
        const logits = Array.from(found[i] as Float32Array)
        requireFinite(logits, at)
        return { at, label, predicted: logits.indexOf(Math.max(...logits)), logits, cut: rows[i]?.cut === true }
      })
    },
    tally: () => {
      const confusion = labels.map(() => labels.map(() => 0))
      let [items, cut] = [0, 0]
      return {
        add: ({ label, predicted, cut: wasCut }) => {
          items++
          if (wasCut) cut++
          const row = confusion[label]
          if (row !== undefined) row[predicted] = (row[predicted] ?? 0) + 1
        },
        report: () => {
          const { accuracy, macroF1 } = classMetrics(confusion)
          return {
            metrics: { accuracy, macro_f1: macroF1 }, counts: { items, cut },
            definitions: { accuracy: 'the share of items whose class has the highest logit', macro_f1: 'the mean of F1 over the classes that are right or told at least once', cut: `items that are longer than ${program.window} tokens, and lost the ends of the longer text` },
            tables: [{ title: 'right class (rows) and told (columns)', rows: [['', ...labels], ...confusion.map((row, i) => [labels[i] ?? '', ...row.map(String)])] }],
          }
        },
      }
    },
  }
}
