/** Multiple choice by log-probability, as lm-evaluation-harness defines it. */
import { DataError } from '../../core/errors.ts'
import { shown } from '../../core/shown.ts'
import type { Tokenizer } from '../../data/index.ts'
import { noTarget } from '../../models/index.ts'
import type { Row, RowProgram } from '../rows.ts'
import { itemsOf, requireFinite, type Fields, type Task } from './task.ts'

type Item = { readonly at: string; readonly prompt: string; readonly choices: readonly string[]; readonly answer: number }
type Done = { readonly at: string; readonly answer: number; readonly logprobs: readonly number[]; readonly picked: number; readonly picked_norm: number; readonly cut: boolean }

export interface ChoiceOptions { readonly program: RowProgram; readonly tokenizer: Tokenizer; readonly stretch: number }

/** `prompt`; or `context`, `question`, or both, a line each. */
function promptOf(fields: Fields): string {
  const [prompt, context, question] = [fields.maybe('prompt'), fields.maybe('context'), fields.maybe('question')]
  if (prompt !== undefined) return prompt
  if (context === undefined && question === undefined) throw fields.missing('"prompt", "question" or "context"')
  return [context, question].filter(t => t !== undefined).join('\n')
}

/** A place from 0, one of the texts, or its letter. */
function answerOf(fields: Fields, choices: readonly string[]): number {
  const given = fields.raw('answer')
  if (given === undefined) throw fields.missing('"answer"')
  if (typeof given === 'string') {
    const text = choices.indexOf(given)
    const place = text >= 0 ? text : /^[A-Z]$/.test(given) ? given.charCodeAt(0) - 65 : -1
    if (place >= 0 && place < choices.length) return place
  } else if (typeof given === 'number' && Number.isInteger(given) && given >= 0 && given < choices.length) return given
  throw fields.wrong('answer', `the answer ${JSON.stringify(given).slice(0, 60)} is none of the ${choices.length} choices`, `give its place from 0 to ${choices.length - 1}, its letter from A to ${String.fromCharCode(64 + Math.min(26, choices.length))}, or its text`)
}

/** White space at a prompt's end goes with the choice: tokens begin with theirs. A choice stands behind a space unless white space is there already. */
function pairOf(prompt: string, choice: string): readonly [context: string, continuation: string] {
  const context = prompt.trimEnd()
  const space = prompt.slice(context.length)
  return [context, `${space === '' && !/^\s/.test(choice) && context !== '' ? ' ' : space}${choice}`]
}

export function choiceTask({ program, tokenizer, stretch }: ChoiceOptions): Task<Item, Done> {
  const { window } = program
  const first = tokenizer.before.length > 0 ? tokenizer.before : tokenizer.endOfText === undefined ? [] : [tokenizer.endOfText]
  /** Context and choice are encoded as one text, and cut behind the tokens that the context has alone. */
  const rowOf = ({ at, prompt }: Item, choice: string): { readonly row: Row; readonly cut: boolean } => {
    const [context, continuation] = pairOf(prompt, choice)
    const [whole, alone] = [[...tokenizer.encode(context + continuation)], tokenizer.encode(context).length]
    // A model must have read something before it foretells.
    const before = alone === 0 ? first : tokenizer.before
    const all = [...before, ...whole]
    const choices = whole.length - alone
    requireRoom(at, choice, choices, window)
    const kept = all.slice(-(window + 1))
    const tokens = kept.slice(0, -1)
    return { row: { tokens, targets: tokens.map((_, i) => (i >= tokens.length - choices ? kept[i + 1] ?? noTarget : noTarget)) }, cut: kept.length < all.length }
  }
  const best = (scores: readonly number[]): number => scores.indexOf(Math.max(...scores))
  return {
    name: 'choice', options: {}, stretch,
    read: parts => itemsOf(parts, (fields): Item => {
      const choices = fields.texts('choices', 2)
      const empty = choices.indexOf('')
      if (empty >= 0) throw fields.wrong('empty-choice', `choice ${empty} has no character`, 'take it out')
      return { at: fields.at, prompt: promptOf(fields), choices, answer: answerOf(fields, choices) }
    }),
    async measure(items, onItems) {
      const rows = items.map(item => item.choices.map(choice => rowOf(item, choice)))
      const flat = rows.flat()
      const found = await program.run(flat.map(r => r.row), done => { onItems(Math.floor(items.length * done / flat.length)) })
      let next = 0
      return items.map(({ at, choices, answer }, i) => {
        const logprobs = choices.map(() => (found[next++] as Float32Array).reduce((n, x) => n + x, 0))
        requireFinite(logprobs, at)
        return { at, answer, logprobs, picked: best(logprobs), picked_norm: best(logprobs.map((x, k) => x / Buffer.byteLength(choices[k] ?? ''))), cut: rows[i]?.some(r => r.cut) === true }
      })
    },
    tally: () => {
      let [items, right, rightByLength, cut] = [0, 0, 0, 0]
      return {
        add: done => {
          items++
          if (done.picked === done.answer) right++
          if (done.picked_norm === done.answer) rightByLength++
          if (done.cut) cut++
        },
        report: () => ({
          metrics: { acc: right / items, acc_norm: rightByLength / items }, counts: { items, cut },
          definitions: {
            acc: 'the share of items whose right choice has the highest sum of log-probabilities behind the prompt', acc_norm: 'the same with each sum divided by the bytes of the choice',
            cut: `items that are longer than the window of ${window} tokens, whose prompts lost their beginnings`,
          },
        }),
      }
    },
  }
}

/** @throws DataError for a choice that no window holds, or that makes no token of its own */
function requireRoom(at: string, choice: string, tokens: number, window: number): void {
  if (tokens >= 1 && tokens <= window) return
  throw new DataError({
    code: 'choice-tokens', what: tokens < 1 ? `the choice ${shown(choice)} makes no token of its own behind the prompt` : `a choice has ${tokens} tokens, and the window ${window}`,
    details: { in: at }, fix: tokens < 1 ? 'write prompt and choice apart' : 'give a longer window (--seq), or a shorter choice',
  })
}
