/** Structured output by llguidance: along random answers over the tokens of SmolLM2, the same tokens may come, but for what is said here; and what comes out is valid by ajv. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv2020 } from 'ajv/dist/2020.js'
import formatsOfAjv from 'ajv-formats'
import { threefry2x32 } from '../../src/core/threefry.ts'
import { readTokenizer } from '../../src/data/tokenizer-json.ts'
import type { Backend } from '../../src/engine/index.ts'
import { fetchModel } from '../../src/formats/index.ts'
import { compileConstraint, vocabularyOf, type Grammar, type GrammarPlace, type Vocabulary } from '../../src/serve/grammar/index.ts'
import { readPretrained } from '../../src/pretrained/pretrained.ts'
import type { Report } from './compare.ts'
import { others, schemas, type Case } from './grammar-cases.ts'
import { reasonOf } from './grammar-reasons.ts'
import { llguidancePython, llguidanceVersion, PythonError, run, type Say } from './python.ts'

const script = fileURLToPath(new URL('grammar.py', import.meta.url))
const [walks, longest] = [4, 48]
interface Walk { readonly of: Case; readonly tokens: number[]; readonly masks: Uint32Array[]; readonly ends: boolean[]; /** The whole answer, where the walk came to an end. */ text?: string }
interface Judged { readonly refused?: string; readonly failed?: string; readonly ends?: readonly boolean[] }

const isSet = (mask: Uint32Array, id: number): boolean => ((mask[id >>> 5] ?? 0) >>> (id & 31) & 1) === 1
const idsOf = (mask: Uint32Array, size: number): number[] => Array.from({ length: size }, (_, id) => id).filter(id => isSet(mask, id))
const closing = ['"', '}', ']', '"}', '"]', '}}', ']}', '0', 'a']

interface Few { readonly short: readonly number[]; readonly close: readonly number[] }

/** A random answer: short tokens and those that close something are drawn more often, or most would never end. */
function walked(of: Case, grammar: Grammar, vocabulary: Vocabulary, seed: number, few: Few): Walk {
  const walk: Walk = { of, tokens: [], masks: [], ends: [] }
  const draw = (i: number, j: number): number => threefry2x32(seed, 7, i, j)
  for (let place = grammar.start(), i = 0; ; i++) {
    walk.masks.push(place.mask)
    walk.ends.push(place.mayEnd)
    const allowed = idsOf(place.mask, vocabulary.size)
    if (place.mayEnd && (allowed.length === 0 || draw(i, 0) % 4 === 0 || i > longest / 2)) {
      walk.text = Buffer.concat(walk.tokens.map(id => vocabulary.texts[id] as Uint8Array)).toString()
      return walk
    }
    if (allowed.length === 0) throw new Error(`${of.name}: nothing may come behind ${JSON.stringify(Buffer.concat(walk.tokens.map(id => vocabulary.texts[id] as Uint8Array)).toString())}`)
    if (i >= longest) return walk
    const [short, close] = [few.short.filter(id => isSet(place.mask, id)), few.close.filter(id => isSet(place.mask, id))]
    const kind = draw(i, 1) % 4
    const from = close.length > 0 && (kind === 0 || i > longest / 2) ? close : short.length > 0 && kind === 1 ? short : allowed
    const id = from[draw(i, 2) % from.length] as number
    walk.tokens.push(id)
    place = place.after(id) as GrammarPlace
  }
}

const idsWhere = ({ texts }: Vocabulary, is: (text: Uint8Array) => boolean): number[] => texts.flatMap((text, id) => (text !== undefined && is(text) ? [id] : []))
const kinds = { tools: 'json', 'json-schema': 'json', 'json-object': 'json', regex: 'regex', choice: 'choice', ebnf: 'ebnf' } as const
const givenOf = ({ constraint: c, theirs }: Case): unknown => theirs ?? (c.type === 'regex' ? c.pattern : c.type === 'choice' ? c.choices : c.type === 'ebnf' ? c.grammar : {})

export async function grammarReport(backend: Backend, say: Say): Promise<Report> {
  const python = await llguidancePython(say)
  const { path } = await fetchModel('smollm2', {})
  const tokenizer = await readTokenizer((await readPretrained(path)).tokenizer ?? '')
  const vocabulary = vocabularyOf(tokenizer.tokens.map((_, id) => tokenizer.textOf(id)))
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-grammar-'))
  try {
    const few: Few = { short: idsWhere(vocabulary, t => t.length === 1), close: idsWhere(vocabulary, t => closing.includes(Buffer.from(t).toString())) }
    say('ours')
    const started = performance.now()
    const refusedByUs: string[] = []
    const found = [...schemas, ...others].flatMap(of => {
      try {
        const grammar = compileConstraint(of.constraint, vocabulary)
        return Array.from({ length: walks }, (_, seed) => walked(of, grammar, vocabulary, seed, few))
      } catch (e) {
        refusedByUs.push(`${of.name}: ${e instanceof Error ? (e.message.split('\n')[0] ?? '') : String(e)}`)
        return []
      }
    })
    const took = performance.now() - started
    await writeFile(join(folder, 'vocabulary.json'), JSON.stringify({ end: vocabulary.texts.indexOf(undefined), texts: vocabulary.texts.map(t => (t === undefined ? null : Buffer.from(t).toString('hex'))) }))
    await writeFile(join(folder, 'walks.json'), JSON.stringify(found.map(w => ({ kind: kinds[w.of.constraint.type], given: givenOf(w.of), tokens: w.tokens }))))
    say('llguidance')
    const { code, output } = await run(python, [script, folder])
    if (code !== 0) throw new PythonError({ code: 'judge', what: 'the judge of masks failed', details: { said: output.split('\n').slice(-3).join(' ') }, fix: `run it by hand: ${python} ${script} FOLDER` })
    const judged = JSON.parse(await readFile(join(folder, 'judged.json'), 'utf8')) as Judged[]
    return { ...reportOf(found, judged, await readFile(join(folder, 'masks.bin')), vocabulary, took, refusedByUs), plugin: backend.name }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function reportOf(found: readonly Walk[], judged: readonly Judged[], file: Buffer, { size, texts }: Vocabulary, took: number, refusedByUs: readonly string[]): Omit<Report, 'plugin'> {
  const ajv = new Ajv2020({ strict: false })
  ;(formatsOfAjv as unknown as (a: Ajv2020) => void)(ajv)
  const spelt = texts.map(text => (text === undefined ? '' : Buffer.from(text).toString('latin1')))
  const words = Math.ceil(size / 32)
  const reasons = new Map<string, number>()
  const faults: string[] = [...refusedByUs]
  const unexplained = new Map<string, { readonly example: string; count: number }>()
  const refused = new Set<string>()
  let [at, steps, valid] = [0, 0, 0]
  const differs = (w: Walk, i: number, ours: boolean, what: string): void => {
    const before = w.tokens.slice(0, i).map(id => spelt[id]).join('')
    const reason = reasonOf({ of: w.of, before, what, ours })
    if (reason === undefined) {
      const kind = `${w.of.name}: behind ${JSON.stringify(before)} may come by ${ours ? 'us' : 'llguidance'} alone`
      const known = unexplained.get(kind)
      if (known === undefined) unexplained.set(kind, { example: what, count: 1 })
      else known.count++
    } else reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
  }
  for (const [k, w] of found.entries()) {
    const judge = judged[k] as Judged
    if (w.text !== undefined && w.of.constraint.type === 'json-schema') {
      valid++
      // The judge reads numbers as doubles, which hold fifteen digits.
      if (!/\d{16}/.test(w.text) && !ajv.validate(w.of.constraint.schema as object, JSON.parse(w.text))) faults.push(`${w.of.name}: ajv says no to ${w.text}`)
    }
    if (judge.refused !== undefined) { refused.add(`${w.of.name}: ${judge.refused.split('\n')[0] ?? ''}`); continue }
    for (const [i, end] of (judge.ends ?? []).entries()) {
      const theirs = new Uint32Array(file.buffer.slice(file.byteOffset + at, file.byteOffset + at + words * 4))
      at += words * 4
      const ours = w.masks[i] as Uint32Array
      steps++
      if (end !== w.ends[i]) differs(w, i, w.ends[i] as boolean, '')
      for (let word = 0; word < words; word++) {
        for (let d = ((ours[word] as number) ^ (theirs[word] as number)) >>> 0, bit = 0; d !== 0; d >>>= 1, bit++) {
          const id = word * 32 + bit
          if ((d & 1) === 1 && texts[id] !== undefined) differs(w, i, isSet(ours, id), spelt[id] as string)
        }
      }
    }
    if (judge.failed !== undefined && judge.ends?.length === 0) faults.push(`${w.of.name}: ${judge.failed}`)
  }
  for (const [kind, { example, count }] of unexplained) faults.push(`${kind}: ${JSON.stringify(example)}${count > 1 ? ` and ${count - 1} more` : ''}`)
  const passes = faults.length === 0 && refused.size < found.length / walks / 10
  const cases = found.length / walks
  return {
    judge: `llguidance ${llguidanceVersion}, ajv`, passes, worst: { grammar: faults.length }, verdicts: [],
    text: [
      `${cases} constraints, ${found.length} answers, ${steps} masks of ${size} tokens by llguidance ${llguidanceVersion}, and ${valid} answers by ajv: ${faults.length} differences without a reason; ours took ${took.toFixed(0)} ms`,
      ...[...reasons].sort((a, b) => b[1] - a[1]).map(([reason, n]) => `  ${String(n).padStart(8)}  ${reason}`), ...[...refused].map(r => `  refused there  ${r}`), ...faults.slice(0, Number(process.env['MOST'] ?? 60)).map(f => `  FAILS  ${f}`),
    ].join('\n'),
  }
}
