/** SmolLM2-135M-Instruct, its real weights from its GGUF file: the log-probability of every token of texts of 2,000 is what PyTorch gives with weights that NumPy decoded. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defaultFiles } from '../../src/data/corpus.ts'
import { readTokenizer } from '../../src/data/tokenizer-json.ts'
import { loadInitial } from '../../src/checkpoint/index.ts'
import { treeOps } from '../../src/core/tree.ts'
import { compile, loose, mesh as meshOf, MeshArray, placementTrees, type Backend, type Tree } from '../../src/engine/index.ts'
import { fetchModel } from '../../src/formats/index.ts'
import { llama, type LlamaConfig } from '../../src/models/index.ts'
import { crossEntropy } from '../../src/nn/index.ts'
import { openKept } from '../../src/serve/kept.ts'
import { partOf, readPretrained } from '../../src/pretrained/pretrained.ts'
import { usualLayout } from '../../src/pretrained/layout.ts'
import type { Report } from './compare.ts'
import { PythonError, run, transformersPython, transformersVersion, type Say } from './python.ts'

const script = fileURLToPath(new URL('smollm2.py', import.meta.url))
const limit = 1e-3
const [rows, length] = [2, 2000]
const arrays = treeOps((x): x is MeshArray => x instanceof MeshArray, 'an array')
const settings = [{ mesh: { batch: 1, model: 1 }, kept: false }, { mesh: { batch: 2, model: 2 }, kept: false }, { mesh: { batch: 1, model: 1 }, kept: true }, { mesh: { batch: 2, model: 2 }, kept: true }] as const

export async function smollm2Report(backend: Backend, say: Say): Promise<Report> {
  const python = await transformersPython(say)
  const { path } = await fetchModel('smollm2', {})
  const given = await readPretrained(path)
  const tokenizer = await readTokenizer(given.tokenizer ?? '')
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-smollm2-'))
  try {
    const files = (await defaultFiles()).toSorted()
    const ids = await Promise.all([files[40], files[180]].map(async file => [...tokenizer.encode(await readFile(file ?? '', 'utf8')).slice(0, length)]))
    if (ids.some(row => row.length !== length)) throw new Error('the texts are too short')
    await writeFile(join(folder, 'ids.json'), JSON.stringify(ids))
    say('PyTorch computes')
    const { code, output } = await run(python, [script, path, folder])
    if (code !== 0) throw new PythonError({ code: 'judge', what: 'the judge of SmolLM2 failed', details: { said: output.split('\n').slice(-3).join(' ') }, fix: `run it by hand: ${python} ${script} ${path} FOLDER` })
    const wanted = (JSON.parse(await readFile(join(folder, 'logprobs.json'), 'utf8')) as number[][]).flat()

    const config = partOf(given, { seq: length, masked: true }).config as LlamaConfig
    const naming = given.architecture.names(config as never)
    const model = llama(config, rows)
    const tokens = Int32Array.from(ids.flat())
    // The last place has nothing behind it.
    const targets = Int32Array.from(ids.flatMap(row => [...row.slice(1), -100]))
    const logProbabilities = (params: Tree, batch: typeof model.batch) =>
      loose(crossEntropy(model.logits(params as never, batch), model.dims.vocab, batch.targets, { ignore: -100 })).neg()
    const verdicts: { readonly mesh: string; readonly weights: string; readonly error: number; readonly passes: boolean }[] = []
    for (const { mesh: axes, kept: keeps } of settings) {
      const name = { mesh: `${axes.batch}×${axes.model}`, weights: keeps ? 'kept of few bits' : 'whole' }
      say(`ours on ${name.mesh}, ${name.weights}`)
      const mesh = meshOf(axes)
      await using kept = keeps ? await openKept(path, model as never, naming) : undefined
      const program = await compile(logProbabilities, [kept?.params ?? model.params, model.batch] as const, { mesh, layout: usualLayout(model.dims, axes), backend, dims: model.dims, uses: model.layouts })
      const placements = program.placements[0]
      const named = placementTrees.flatten(placements).map(({ path: at, leaf }) => ({ path: at, value: leaf }))
      const loaded = kept === undefined ? (await loadInitial(path, named, {}, backend, mesh, naming)).arrays : undefined
      const params = kept === undefined ? placementTrees.rebuild(placements, named.map(n => loaded?.get(n.path))) : await kept.load(placements, backend, mesh)
      const result = await program(params as never, { tokens, targets } as never)
      const found = Array.from(await result.read(), Number).filter((_, i) => i % length !== length - 1)
      for (const { leaf } of [...arrays.flatten(params), { leaf: result }]) leaf.dispose()
      program.dispose()
      const error = Math.max(...found.map((x, i) => { const d = Math.abs(x - (wanted[i] ?? NaN)); return Number.isNaN(d) ? Infinity : d }))
      verdicts.push({ ...name, error, passes: found.length === wanted.length && error < limit })
    }
    const passes = verdicts.every(v => v.passes)
    const lines = verdicts.map(v => `${v.mesh.padEnd(6)}${v.weights.padEnd(20)}${v.error.toExponential(1).padStart(10)}  ${v.passes ? 'ok' : 'FAILS'}`)
    return {
      judge: `transformers ${transformersVersion}`, plugin: backend.name, passes, worst: { smollm2: Math.max(...verdicts.map(v => v.error)) }, verdicts,
      text: [`SmolLM2-135M-Instruct from its GGUF file, the log-probabilities of ${rows} × ${length - 1} tokens, by transformers ${transformersVersion} on weights decoded by NumPy; the largest difference, limit ${limit}`, ...lines].join('\n'),
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
