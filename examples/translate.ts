// A small T5 that learns English sentences and their French by heart, byte by byte, as ByT5 reads them: messages of TypeScript's compiler, which the package `typescript` has in
// both languages. What is evaluated are the same pairs: the run ends with how many bytes of their French it has right, which were all of them, after five minutes on two busy cores.
//
//   npx meshwork train examples/translate.ts
import { createRequire } from 'node:module'
import { hash, type DataSource } from 'meshwork/data'
import { t5Model } from 'meshwork/models'
import { adamwCosine, defineRun, type Run } from 'meshwork/train'

// What is no byte: padding, with which what is written begins, too, and the end.
const [padding, end, firstByte] = [0, 1, 2]
const longest = 48
const pairsOf = 128

/** The package of this project, or the one that Meshwork is developed with. */
function typescript(): NodeJS.Require {
  const own = createRequire(import.meta.url)
  try {
    own.resolve('typescript')
    return own
  } catch {
    return createRequire(own.resolve('meshwork/package.json'))
  }
}
const load = typescript()
const english = Object.values((load('typescript') as { Diagnostics: { [name: string]: { readonly key: string; readonly message: string } } }).Diagnostics)
const french = load('typescript/lib/fr/diagnosticMessages.generated.json') as { readonly [key: string]: string }
const tokensOf = (text: string): number[] => [...Array.from(new TextEncoder().encode(text), byte => byte + firstByte), end]
const pairs = english.flatMap(({ key, message }) => (french[key] === undefined ? [] : [[tokensOf(message), tokensOf(french[key])] as const]))
  .filter(pair => pair.every(tokens => tokens.length <= longest)).slice(0, pairsOf)

const sentences = (pick: (step: number, row: number) => number): DataSource<{ source: Int32Array; target: Int32Array; labels: Int32Array }> => ({
  batch(step, { from, to }) {
    const rows = to - from
    const [source, target, labels] = [new Int32Array(rows * longest).fill(padding), new Int32Array(rows * longest).fill(padding), new Int32Array(rows * longest).fill(-100)]
    for (let row = 0; row < rows; row++) {
      const [read = [], written = []] = pairs[pick(step, from + row) % pairs.length] ?? []
      source.set(read, row * longest)
      // What was written so far is one token behind what is to be written.
      target.set([padding, ...written.slice(0, -1)], row * longest)
      labels.set(written, row * longest)
    }
    return { source, target, labels }
  },
})

const batch = 32
const run: Run = defineRun({
  name: 'translate',
  model: t5Model({ vocab: 256 + firstByte, source: longest, target: longest, encoderLayers: 2, decoderLayers: 2, embed: 64, heads: 4, headDim: 16, hidden: 128, farthest: 48, padding }),
  data: sentences((step, row) => hash(1, step, row, 0)),
  heldOut: sentences((step, row) => step * batch + row),
  batch,
  steps: 800,
  optimizer: adamwCosine({ rate: 3e-3, warmup: 100 }),
  mesh: { batch: 2, model: 2 },
  layout: { batch: 'batch', heads: 'model', hidden: 'model' },
  evaluation: { every: 200, batches: pairsOf / batch },
})
export default run
