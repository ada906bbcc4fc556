/** Preparing: the same bytes however it comes about. */
import { spawnSync } from 'node:child_process'
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import type { Ranks } from '../../../src/data/store/ranks.ts'
import { prepareStore } from '../../../src/data/store/prepare.ts'
import { openStore } from '../../../src/data/store/store.ts'
import { readTokenizer } from '../../../src/data/tokenizer-json.ts'
import { temporaryFolder } from '../temporary.ts'
import { contentOf, drawing, jsonLines, textOf, tokenizerPath } from './corpus.ts'

const at = temporaryFolder()
const first = at.file('first.jsonl', jsonLines(1, 300, 60))
const second = at.file('second.jsonl', jsonLines(2, 100, 200))
const third = at.file('third.txt', 'one text<|endoftext|>  <|endoftext|>another, 漢字\n')
const files = [first, second, third]
const tokenizer = { path: tokenizerPath }
// Pieces are small here, so that there are many.
const options = { files, tokenizer, pieceBytes: 4000 }
const calm = await prepareStore({ ...options, out: at.at('calm'), workers: 1 })
const leftovers = (): string[] => readdirSync(at.path).filter(n => n.startsWith('.'))

/** `count` processes in one, that exchange through memory. */
function pretendRanks(count: number): Ranks[] {
  const rounds = new Map<number, { readonly given: Promise<Uint8Array>[]; readonly all: Promise<Uint8Array[]>; readonly start: () => void }>()
  return Array.from({ length: count }, (_, rank) => {
    let turn = 0
    return {
      rank, count,
      exchange(bytes) {
        const now = turn++
        let round = rounds.get(now)
        if (round === undefined) {
          const given: Promise<Uint8Array>[] = []
          let start = (): void => {}
          const begun = new Promise<void>(resolve => { start = resolve })
          rounds.set(now, round = { given, start, all: begun.then(() => Promise.all(given)) })
        }
        round.given[rank] = Promise.resolve(bytes)
        if (round.given.filter(x => x as unknown !== undefined).length === count) round.start()
        return round.all
      },
    } satisfies Ranks
  })
}

describe('the same bytes', () => {
  test('with three workers', async () => {
    await prepareStore({ ...options, out: at.at('three'), workers: 3 })
    expect(contentOf(at.at('three'))).toEqual(contentOf(calm.folder))
    expect(calm.manifest.parts.map(p => p.documents)).toEqual([300, 100, 2])
    expect(leftovers()).toEqual([])
  })

  test('of many files of text, which are read while others are encoded', async () => {
    const draw = drawing(5)
    const texts = Array.from({ length: 30 }, (_, i) => at.file(`many-${i}.txt`, textOf(draw, 2000 + draw(3000))))
    const [one, two] = [await prepareStore({ files: texts, tokenizer, out: at.at('many-0'), workers: 0 }), await prepareStore({ files: texts, tokenizer, out: at.at('many-2'), workers: 2 })]
    expect(contentOf(two.folder)).toEqual(contentOf(one.folder))
    expect(new Set(one.manifest.parts.map(p => p.documents))).toEqual(new Set([1]))
  })

  test('killed at ten moments', () => {
    const program = fileURLToPath(new URL('dying.mjs', import.meta.url))
    const out = at.at('killed')
    const run = (n: number, workers = 0) => {
      const { status, signal, stdout, stderr } = spawnSync(process.execPath, [program, String(n), JSON.stringify({ ...options, out, workers })], { encoding: 'utf8' })
      if (signal !== 'SIGKILL' && status !== 0) throw new Error(stderr)
      return signal === 'SIGKILL' ? undefined : JSON.parse(stdout) as { readonly calls: number; readonly resumed: number }
    }
    const whole = run(0)
    expect(contentOf(out)).toEqual(contentOf(calm.folder))
    rmSync(out, { recursive: true })
    const { calls = 0 } = whole ?? {}
    expect(calls).toBeGreaterThan(50)
    const draw = drawing(12)
    let [kills, finished, resumed] = [0, 0, 0]
    while (kills < 10) {
      // Killed runs do less and less: now and then one comes to its end, and the next begins anew.
      const ended = run(1 + draw(calls * 0.6), kills % 3 === 0 ? 1 : 0)
      if (ended === undefined) {
        kills++
        // Nothing that looks like a store, before it is one.
        if (existsSync(out)) expect(contentOf(out)).toEqual(contentOf(calm.folder))
        continue
      }
      finished++
      resumed += ended.resumed
      expect(contentOf(out)).toEqual(contentOf(calm.folder))
      rmSync(out, { recursive: true })
    }
    const last = run(0)
    expect(contentOf(out)).toEqual(contentOf(calm.folder))
    expect(resumed + (last?.resumed ?? 0)).toBeGreaterThan(0)
    expect(finished).toBeLessThan(10)
    expect(leftovers()).toEqual([])
  })

  test('over three ranks, and where one of them has done a part before', async () => {
    const out = at.at('ranks')
    // Alone, and interrupted: the last ledger line stays torn, and bytes lie behind what it speaks of.
    const stop = new AbortController()
    let seen = 0
    await expect(prepareStore({ ...options, out, workers: 0, signal: stop.signal, onProgress: () => { if (++seen === 4) stop.abort() } })).rejects.toThrow()
    const segment = at.at('.ranks.preparing/segment-0')
    appendFileSync(join(segment, 'ledger'), '{"part":"fir')
    appendFileSync(join(segment, 'tokens'), 'garbage')
    const made = await Promise.all(pretendRanks(3).map(ranks => prepareStore({ ...options, out, workers: 0, ranks })))
    expect(made.map(m => m.manifest)).toEqual([calm.manifest, calm.manifest, calm.manifest])
    expect(contentOf(out)).toEqual(contentOf(calm.folder))
    expect(leftovers()).toEqual([])
  })

  test('after a power cut that kept the ledger and lost what it speaks of', async () => {
    const out = at.at('power')
    const stop = new AbortController()
    let seen = 0
    await expect(prepareStore({ ...options, out, workers: 0, signal: stop.signal, onProgress: () => { if (++seen === 6) stop.abort() } })).rejects.toThrow()
    const tokens = at.at('.power.preparing/segment-0/tokens')
    truncateSync(tokens, statSync(tokens).size - 10)
    await prepareStore({ ...options, out, workers: 0 })
    expect(contentOf(out)).toEqual(contentOf(calm.folder))
  })

  test('with a tokenizer learnt in this thread and by two', async () => {
    const learn = { ...options, files: [first, third], tokenizer: { vocab: 300 } }
    await prepareStore({ ...learn, out: at.at('learnt1'), workers: 0 })
    await prepareStore({ ...learn, out: at.at('learnt2'), workers: 2 })
    expect(contentOf(at.at('learnt2'))).toEqual(contentOf(at.at('learnt1')))
    const store = await openStore(at.at('learnt1'))
    expect([(await store.tokenizer())?.vocab, store.manifest?.settings.tokenizer]).toEqual([300, { learnt: 300 }])
    store.close()
  })
})

describe('what is in it', () => {
  test('every document once, in order, ended once, with its source', async () => {
    const store = await openStore(calm.folder)
    const tokenizer = await readTokenizer(tokenizerPath)
    const texts = [first, second].flatMap(f => readFileSync(f, 'utf8').trim().split('\n').map(line => (JSON.parse(line) as { text: string }).text))
    const expected = [...texts, 'one text', 'another, 漢字\n']
    expect(Array.from({ length: store.documents }, (_, d) => tokenizer.decode(store.document(d), { special: true }))).toEqual(expected.map(t => `${t}<|endoftext|>`))
    expect(store.source(299)).toEqual({ part: first, record: 299, at: `${first}:300` })
    expect(store.source(300)).toEqual({ part: second, record: 0, at: `${second}:1` })
    await store.verify()
    store.close()
  })

  test('begin and end tokens once, also where the text has them', async () => {
    const file = at.file('edges.jsonl', ['<|endoftext|>both<|endoftext|>', 'none', ''].map(text => `${JSON.stringify({ text })}\n`).join(''))
    const { folder, manifest } = await prepareStore({ ...options, files: [file], out: at.at('edges'), workers: 0, begin: '<|endoftext|>' })
    const store = await openStore(folder)
    const tokenizer = await readTokenizer(tokenizerPath)
    expect([...store.document(0)]).toEqual([0, ...tokenizer.encode('both'), 0])
    expect([...store.document(1)]).toEqual([0, ...tokenizer.encode('none'), 0])
    expect([manifest.documents, manifest.empty]).toEqual([2, 1])
    store.close()
  })

  test('a chat, with what is learnt of it', async () => {
    const messages = [{ role: 'user', content: 'the people' }, { role: 'assistant', content: 'of a nation' }]
    const file = at.file('chat.jsonl', `${JSON.stringify({ messages })}\n${JSON.stringify({ text: 'plain' })}\n`)
    const { folder } = await prepareStore({ ...options, files: [file], out: at.at('chat'), workers: 0 })
    const store = await openStore(folder)
    const tokenizer = await readTokenizer(tokenizerPath)
    const [ids, mask] = [store.document(0), store.mask(0)]
    expect(tokenizer.decode(ids.filter((_, i) => mask[i] === 1))).toBe('of a nation<|im_end|>')
    expect(store.mask(1).every(x => x === 1)).toBe(true)
    await store.verify()
    store.close()
  })
})

test('a chat by the template and the tokenizer that a model came with, in a worker', async () => {
  const golden = JSON.parse(readFileSync(new URL('../golden/general.json', import.meta.url), 'utf8')) as { smollm: { file: object } }
  const messages = [{ role: 'user', content: 'the people' }, { role: 'assistant', content: 'of a nation' }]
  const file = at.file('templated.jsonl', `${JSON.stringify({ messages })}\n`)
  const jinja = '{{ bos }}{% for m in messages %}[{{ m.role }}] {% if m.role == "assistant" %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}{% endif %}{{ "\\n" }}{% endfor %}'
  const own = { path: at.file('own.json', JSON.stringify(golden.smollm.file)) }
  const prepare = (template: { jinja: string; variables?: { bos: string } }) => prepareStore({ ...options, files: [file], tokenizer: own, out: at.at('templated'), workers: 1, chat: { template, loss: ['assistant'] } })
  const { folder, manifest } = await prepare({ jinja, variables: { bos: '<|im_start|>' } })
  const store = await openStore(folder)
  const tokenizer = await readTokenizer(own.path)
  const [ids, mask] = [store.document(0), store.mask(0)]
  expect(tokenizer.decode(ids, { special: true })).toBe('<|im_start|>[user] the people\n[assistant] of a nation<|im_end|>\n<|endoftext|>')
  expect(tokenizer.decode(ids.filter((_, i) => mask[i] === 1), { special: true })).toBe('of a nation<|im_end|>')
  expect(manifest.settings.end).toBe(tokenizer.endOfText)
  store.close()
  await expect(prepare({ jinja })).rejects.toThrow(/differs in chat/)
})

describe('what is there already', () => {
  test('the same again is found', async () => {
    const again = await prepareStore({ ...options, out: calm.folder, workers: 0 })
    expect([again.made, again.manifest]).toEqual([false, calm.manifest])
  })

  test.each([
    ['another end', { end: null }, /differs in end[^]*there +0[^]*asked +null/],
    ['fewer files', { files: [first] }, /differs in files[^]*second\.jsonl/],
    ['pieces of another size', { pieceBytes: 8000 }, /differs in piece/],
  ])('%s is refused', async (_, change, message) => {
    await expect(prepareStore({ ...options, ...change, out: calm.folder, workers: 0 })).rejects.toThrow(message)
    expect(contentOf(calm.folder)).toEqual(contentOf(at.at('calm')))
  })

  test('a file that has changed is refused, and named', async () => {
    const file = at.file('changing.jsonl', jsonLines(3, 20, 9))
    const made = { ...options, files: [file], out: at.at('changing'), workers: 0 }
    await prepareStore(made)
    writeFileSync(file, jsonLines(4, 20, 9))
    await expect(prepareStore(made)).rejects.toThrow(/content of .*changing\.jsonl/)
  })

  test('what was begun otherwise is refused, and gone on with or thrown away', async () => {
    const [out, begun] = [at.at('begun'), new AbortController()]
    await expect(prepareStore({ ...options, out, workers: 0, signal: begun.signal, onProgress: () => { begun.abort() } })).rejects.toThrow()
    await expect(prepareStore({ ...options, out, workers: 0, end: null })).rejects.toThrow(/what was begun in .*\.begun\.preparing differs in end[^]*--restart/)
    const { resumed } = await prepareStore({ ...options, out, workers: 0, end: null, restart: true })
    expect([resumed, existsSync(at.at('.begun.preparing'))]).toEqual([0, false])
  })

  test('a part that has changed in between is done again, the others are not', async () => {
    const file = at.file('mended.jsonl', `${jsonLines(5, 30, 9)}{ no json\n`)
    const out = at.at('mended')
    await expect(prepareStore({ ...options, files: [first, file], out, workers: 0 })).rejects.toThrow(/mended\.jsonl:31/)
    expect(existsSync(out)).toBe(false)
    writeFileSync(file, jsonLines(6, 35, 9))
    const { resumed } = await prepareStore({ ...options, files: [first, file], out, workers: 0 })
    expect(resumed).toBeGreaterThan(3)
    await prepareStore({ ...options, files: [first, file], out: at.at('mended-anew'), workers: 0 })
    expect(contentOf(out)).toEqual(contentOf(at.at('mended-anew')))
  })

  test('a folder of something else is left alone', async () => {
    await expect(prepareStore({ ...options, out: at.path, workers: 0 })).rejects.toThrow(/out-taken/)
    await expect(prepareStore({ ...options, out: first, workers: 0 })).rejects.toThrow(/out-taken/)
  })
})
