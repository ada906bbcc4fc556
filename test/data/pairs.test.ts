/** Pairs of answers as data: every form that other tools have them in, what is learnt of them, what is cut; an order that no mesh changes; errors that name the record. */
import { gzipSync } from 'node:zlib'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { describe, expect, test } from 'vitest'
import { pairData, readTokenizer, type ChatRules, type DataRequest, type OpenData, type PairTokens } from '../../src/data/index.ts'
import { failure } from './sources/support.ts'
import { tokenizerPath } from './store/corpus.ts'
import { temporaryFolder } from './temporary.ts'

const folder = temporaryFolder()
const seq = 160
const fieldsOf = (length: number): DataRequest['fields'] => Object.fromEntries(['chosen.tokens', 'chosen.targets', 'rejected.tokens', 'rejected.targets'].map(path => [path, { dtype: 'i32', shape: [length] }]))
const request: DataRequest = {
  batch: 4, seed: 3, fields: fieldsOf(seq), vocab: undefined, ignored: -100, heldOut: 8,
  ranks: { rank: 0, count: 1, exchange: async bytes => [await bytes] }, signal: undefined, onProgress: () => undefined, onNote: () => undefined,
}
const tokenizer = await readTokenizer(tokenizerPath)
const lines = (name: string, records: readonly object[]): string => folder.file(name, records.map(r => `${JSON.stringify(r)}\n`).join(''))
const open = (file: string, { heldOut = 0, chat, ...more }: Partial<DataRequest> & { readonly chat?: ChatRules } & { readonly heldOut?: number } = {}): Promise<OpenData<PairTokens>> =>
  pairData({ files: [file], tokenizer: tokenizerPath, heldOut, ...(chat === undefined ? {} : { chat }) }).build().open({ ...request, ...more })
const turn = (role: string, content: string) => ({ role, content })
const some = { from: 0, to: 1 }

interface Side { readonly text: string; readonly learnt: string }
/** The text of a row, and of its targets that count: these are the tokens behind their places. */
function sideOf({ tokens, targets }: PairTokens['chosen'], row = 0): Side {
  const [own, wanted] = [tokens.subarray(row * seq, (row + 1) * seq), targets.subarray(row * seq, (row + 1) * seq)]
  const learnt = wanted.filter(t => t !== -100)
  const last = wanted.findLastIndex(t => t !== -100)
  return { text: tokenizer.decode([...own.slice(0, last + 1), ...(last < 0 ? [] : [wanted[last] as number])], { special: true }), learnt: tokenizer.decode(learnt, { special: true }) }
}
/** The only pair of a file. */
async function only(record: object, chat?: ChatRules): Promise<{ readonly chosen: Side; readonly rejected: Side }> {
  const data = await open(lines('one.jsonl', [record]), chat === undefined ? {} : { chat })
  const { chosen, rejected } = await data.batch(0, some)
  return { chosen: sideOf(chosen), rejected: sideOf(rejected) }
}
const chatml = (...turns: readonly (readonly [role: string, content: string])[]): string => turns.map(([role, content]) => `<|im_start|>${role}\n${content}<|im_end|>\n`).join('')
const end = '<|endoftext|>'

describe('forms of records', () => {
  test('texts, with a prompt: no template, and the end behind the answers', async () => {
    expect(await only({ prompt: 'who was', chosen: ' Washington?', rejected: ' it?' })).toEqual({
      chosen: { text: `who was Washington?${end}`, learnt: ` Washington?${end}` }, rejected: { text: `who was it?${end}`, learnt: ` it?${end}` },
    })
  })
  test('texts without: what both begin with is the prompt, up to the space before a word', async () => {
    expect(await only({ chosen: 'the sky is blue', rejected: 'the sky is green' })).toEqual({
      chosen: { text: `the sky is blue${end}`, learnt: ` blue${end}` }, rejected: { text: `the sky is green${end}`, learnt: ` green${end}` },
    })
  })
  const asked = [turn('system', 's'), turn('user', 'who?')]
  const wanted = {
    chosen: { text: chatml(['system', 's'], ['user', 'who?'], ['assistant', 'he']).trimEnd(), learnt: 'he<|im_end|>' },
    rejected: { text: chatml(['system', 's'], ['user', 'who?'], ['assistant', 'it']).trimEnd(), learnt: 'it<|im_end|>' },
  }
  test.each([
    ['with a prompt of messages', { prompt: asked, chosen: [turn('assistant', 'he')], rejected: [turn('assistant', 'it')] }],
    ['with the prompt within the answers', { chosen: [...asked, turn('assistant', 'he')], rejected: [...asked, turn('assistant', 'it')] }],
    ['with a prompt that is within the answers, too', { prompt: asked, chosen: [...asked, turn('assistant', 'he')], rejected: [...asked, turn('assistant', 'it')] }],
  ])('messages %s', async (_, record) => { expect(await only(record)).toEqual(wanted) })
  test('a prompt that is text and answers that are messages, as others keep them', async () => {
    const found = await only({ prompt: 'who?', chosen: [turn('user', 'who?'), turn('assistant', 'he')], rejected: [turn('user', 'who?'), turn('assistant', 'it')] })
    expect(found.chosen).toEqual({ text: chatml(['user', 'who?'], ['assistant', 'he']).trimEnd(), learnt: 'he<|im_end|>' })
  })
  test('turns before the answer are not learnt, turns of it are; all roles where none is named', async () => {
    const before = [turn('user', 'a'), turn('assistant', 'b'), turn('user', 'c')]
    const record = { chosen: [...before, turn('assistant', 'd'), turn('user', 'e'), turn('assistant', 'f')], rejected: [...before, turn('assistant', 'g')] }
    expect((await only(record)).chosen.learnt).toBe('d<|im_end|>f<|im_end|>')
    expect((await only(record, { template: 'chatml', loss: [] })).chosen.learnt).toBe('d<|im_end|>e<|im_end|>f<|im_end|>')
  })
  test('a template of the model\'s own, with marks of what is learnt', async () => {
    const jinja = "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{{ stop }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
    const found = await only({ prompt: [turn('user', 'a'), turn('assistant', 'b'), turn('user', 'c')], chosen: [turn('assistant', 'd')], rejected: [turn('assistant', 'e')] }, { template: { jinja, variables: { stop: '.' } }, loss: ['assistant'] })
    expect(found.chosen).toEqual({ text: '[user]a[assistant]b.[user]c[assistant]d.', learnt: 'd.' })
  })
  test('Parquet, of texts and of chats, and compressed lines: as lines of JSON', async () => {
    const texts = parquetWriteBuffer({ columnData: [{ name: 'rejected', data: ['it', 'b'], type: 'STRING' }, { name: 'prompt', data: ['who ', 'a'], type: 'STRING' }, { name: 'other', data: [1, 2], type: 'INT32' }, { name: 'chosen', data: ['he', 'c'], type: 'STRING' }] })
    const records = [{ prompt: 'who ', chosen: 'he', rejected: 'it' }, { prompt: 'a', chosen: 'c', rejected: 'b' }]
    const plain = await open(lines('same.jsonl', records))
    for (const file of [folder.file('texts.parquet', new Uint8Array(texts)), folder.file('same.jsonl.gz', gzipSync(records.map(r => JSON.stringify(r)).join('\n')))]) {
      const data = await open(file)
      expect(data.identity).toEqual(plain.identity)
      expect(await data.batch(3, { from: 0, to: 4 })).toEqual(await plain.batch(3, { from: 0, to: 4 }))
    }
    const list = (name: string, contents: readonly string[]) => ({ name, data: contents.map(c => [turn('user', 'who?'), turn('assistant', c)]) })
    const message = (name: string) => [{ name, repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'LIST' }, { name: 'list', repetition_type: 'REPEATED', num_children: 1 }, { name: 'element', repetition_type: 'OPTIONAL', num_children: 2 },
      { name: 'role', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' }, { name: 'content', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' }] as const
    const chats = parquetWriteBuffer({ schema: [{ name: 'root', num_children: 2 }, ...message('chosen'), ...message('rejected')], columnData: [list('chosen', ['he', 'c']), list('rejected', ['it', 'b'])] })
    const data = await open(folder.file('chats.parquet', new Uint8Array(chats)))
    const { chosen, rejected } = await data.batch(0, { from: 0, to: 2 })
    expect([0, 1].flatMap(row => [sideOf(chosen, row).learnt, sideOf(rejected, row).learnt]).sort()).toEqual(['b', 'c', 'he', 'it'].map(t => `${t}<|im_end|>`))
  })
})

const numbered = (count: number) => Array.from({ length: count }, (_, i) => ({ prompt: `${i}`, chosen: ` yes ${i}`, rejected: ` no ${i}` }))
const pairsIn = async (data: OpenData<PairTokens>, step: number, rows = { from: 0, to: 4 }): Promise<number[]> => {
  const { chosen, rejected } = await data.batch(step, rows)
  return Array.from({ length: rows.to - rows.from }, (_, row) => {
    const [better, worse] = [sideOf(chosen, row), sideOf(rejected, row)].map(s => /^(\d*)( yes| no)? ?(\d*)/.exec(s.text)?.[1] ?? '')
    expect(better).toBe(worse)
    return better === '' ? -1 : Number(better)
  })
}

describe('the order', () => {
  const file = lines('eleven.jsonl', numbered(11))
  test('takes each pair once an epoch, and is the same however rows are asked for and whoever begins in the middle', async () => {
    const data = await open(file)
    const all = (await Promise.all(Array.from({ length: 11 }, (_, step) => pairsIn(data, step)))).flat()
    for (const e of [0, 1, 2, 3]) expect(all.slice(11 * e, 11 * e + 11).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 11 }, (_, i) => i))
    const again = await open(file)
    for (const step of [7, 2]) expect((await Promise.all([0, 1, 2, 3].map(from => pairsIn(again, step, { from, to: from + 1 })))).flat()).toEqual(all.slice(4 * step, 4 * step + 4))
    expect(await pairsIn(await open(file, { seed: 4 }), 0)).not.toEqual(all.slice(0, 4))
    expect(data.stepsFor?.({ epochs: 2 })).toBe(6)
    expect(data.about).toMatchObject({ name: 'eleven.jsonl', rows: 11, heldOut: 0 })
    expect(data.documentsOfStep?.(0)[0]?.[0]?.source).toEqual({ part: file, record: all[0], at: `${file}:${(all[0] ?? 0) + 1}` })
  })
  test('fewer pairs than a batch go around', async () => {
    const found = await pairsIn(await open(lines('three.jsonl', numbered(3))), 0)
    expect(new Set(found).size).toBe(3)
  })
  test('what is held out is drawn by no seed, never trained on, and each of it measured once', async () => {
    const [data, other] = [await open(file, { heldOut: 0.5 }), await open(file, { heldOut: 0.5, seed: 9 })]
    const held = (await Promise.all([0, 1].map(step => pairsIn({ ...data, batch: data.heldOut!.source.batch }, step)))).flat()
    expect([data.heldOut?.batches, data.heldOut?.count]).toEqual([2, 6])
    expect(held.slice(6)).toEqual([-1, -1])
    expect(held.slice(0, 6)).toEqual(held.slice(0, 6).toSorted((a, b) => a - b))
    expect(await pairsIn({ ...other, batch: other.heldOut!.source.batch }, 0)).toEqual(held.slice(0, 4))
    const trained = new Set((await Promise.all([0, 1, 2, 3].map(step => pairsIn(data, step)))).flat())
    expect([...trained].filter(i => held.includes(i))).toEqual([])
    expect(trained.size).toBe(5)
    expect((await open(file, { heldOut: 0.01 })).heldOut?.count).toBe(1)
  })
  test('other files are measured whole', async () => {
    const whole = await pairData({ files: ['none.jsonl'], tokenizer: 'none' }).build().whole!([file], tokenizerPath, request)
    expect([whole.heldOut?.batches, whole.heldOut?.count]).toEqual([3, 11])
    expect(await pairsIn({ ...whole, batch: whole.heldOut!.source.batch }, 2)).toEqual([8, 9, 10, -1])
  })
})

describe('a pair that is longer than a row', () => {
  const digits = (n: number, of: string): string => Array.from({ length: n }, () => ` ${of}`).join('')
  test('loses the beginning of its prompt, as much on both sides; then answers lose their ends; it is told of', async () => {
    const notes: string[] = []
    const length = 32
    const note = { fields: fieldsOf(length), onNote: (text: string) => { notes.push(text) } }
    const first = await open(lines('long.jsonl', [{ prompt: `${digits(40, '7')} 8`, chosen: digits(9, '1'), rejected: ' 2' }]), note)
    const { chosen, rejected } = await first.batch(0, some)
    const prompt = tokenizer.encode(`${digits(40, '7')} 8`)
    const answer = tokenizer.encode(digits(9, '1'))
    const kept = length + 1 - answer.length - 1
    expect(Array.from(chosen.tokens.slice(0, kept))).toEqual(Array.from(prompt.slice(-kept)))
    expect(Array.from(rejected.tokens.slice(0, kept))).toEqual(Array.from(prompt.slice(-kept)))
    expect(sideOf(chosen).learnt).toBe(`${digits(9, '1')}${end}`)
    const second = await open(lines('longer.jsonl', [{ prompt: digits(40, '7'), chosen: digits(60, '1'), rejected: ' 2' }]), note)
    const { chosen: cut, rejected: short } = await second.batch(0, some)
    // A quarter of the row is left to the prompt.
    expect([cut.targets.filter(t => t !== -100).length, cut.targets.indexOf(cut.targets.find(t => t !== -100)!)]).toEqual([length + 1 - 9, 8])
    expect(sideOf(short).learnt).toBe(` 2${end}`)
    expect(notes).toEqual(['of 1 pairs 1 have prompts that were cut from the left, and 0 answers that were cut at their ends, to fit into 32 tokens', 'of 1 pairs 1 have prompts that were cut from the left, and 1 answers that were cut at their ends, to fit into 32 tokens'])
  })
})

describe('what is wrong', () => {
  const fails = (records: readonly object[] | string, more: Parameters<typeof open>[1] = {}): Promise<string> => failure(open(typeof records === 'string' ? records : lines('bad.jsonl', records), more))
  test.each([
    ['no such field', [{ prompt: 'a', chosen: 'b' }], /no field "rejected"[^]*bad\.jsonl/],
    ['a record that lacks one', [{ prompt: 'a', chosen: 'b', rejected: 'c' }, { prompt: 'a', chosen: 'b' }], /no field "rejected"[^]*bad\.jsonl:2/],
    ['a field of another kind', [{ chosen: 1, rejected: 'c' }], /"chosen" is a number[^]*bad\.jsonl:1/],
    ['text where the first record had messages', [{ chosen: [turn('assistant', 'a')], rejected: [turn('assistant', 'b')] }, { chosen: 'a', rejected: [turn('user', 'b')] }], /"chosen" is a string[^]*bad\.jsonl:2/],
    ['answers that are the same chat', [{ chosen: [turn('user', 'a'), turn('assistant', 'b')], rejected: [turn('user', 'a'), turn('assistant', 'b')] }], /bad\.jsonl:1: one of the answers has no message/],
    ['no turn that is learnt', [{ prompt: [turn('user', 'a')], chosen: [turn('tool', 'b')], rejected: [turn('assistant', 'b')] }], /bad\.jsonl:1: no turn of an answer is learnt: tool/],
    ['no records', [], /no pairs in bad\.jsonl|records of pairs have no field/],
  ] as const)('%s', async (_, records, message) => { expect(await fails(records)).toMatch(message) })
  const good = lines('good.jsonl', numbered(2))
  test('files, models and shares that cannot be', async () => {
    expect(await fails(folder.file('pairs.txt', 'text'))).toMatch(/pairs are read from JSONL and Parquet/)
    expect(await fails(good, { fields: { tokens: { dtype: 'i32', shape: [seq] } } })).toMatch(/the model takes tokens[^]*preferenceModel/)
    expect(await fails(good, { ignored: undefined })).toMatch(/prompts are not to be learnt/)
    expect(await fails(good, { vocab: 12 })).toMatch(/the model has a vocabulary of 12/)
    expect(await fails(lines('single.jsonl', numbered(1)), { heldOut: 0.5 })).toMatch(/there is one pair in single\.jsonl/)
  })
})
