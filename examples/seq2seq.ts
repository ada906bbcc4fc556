// A sequence-to-sequence Transformer that learns to sort: it reads a string of digits and writes them in order. The data is a source of one's own: a function of the
// step and the rows alone, so that every mesh, every process and every run that goes on sees the same.
//
//   npx meshwork train examples/seq2seq.ts
import { hash, type DataSource } from 'meshwork/data'
import { seq2seqModel } from 'meshwork/models'
import { adamwCosine, defineRun, type Run } from 'meshwork/train'

const [padding, begin, end, firstDigit] = [0, 1, 2, 3]
const longest = 12

/** Strings of 4 to 12 digits, and the same sorted. What is held out is drawn by another seed. */
const sorting = (seed: number): DataSource<{ source: Int32Array; target: Int32Array; labels: Int32Array }> => ({
  batch(step, { from, to }) {
    const rows = to - from
    const source = new Int32Array(rows * longest).fill(padding)
    // What is written has one token more: the sign that it begins, or that it ends. Places behind the end do not count: −100.
    const target = new Int32Array(rows * (longest + 1)).fill(padding)
    const labels = new Int32Array(rows * (longest + 1)).fill(-100)
    for (let row = 0; row < rows; row++) {
      const draw = (use: number, below: number): number => hash(seed, step, from + row, use) % below
      const digits = Array.from({ length: 4 + draw(0, longest - 3) }, (_, i) => firstDigit + draw(i + 1, 10))
      const sorted = digits.toSorted((a, b) => a - b)
      source.set(digits, row * longest)
      target.set([begin, ...sorted], row * (longest + 1))
      labels.set([...sorted, end], row * (longest + 1))
    }
    return { source, target, labels }
  },
})

const run: Run = defineRun({
  name: 'seq2seq',
  model: seq2seqModel({
    vocab: firstDigit + 10, padding, source: longest, target: longest + 1, encoderLayers: 2, decoderLayers: 2, embed: 64, heads: 4, headDim: 16, hidden: 128,
  }),
  data: sorting(1),
  heldOut: sorting(2),
  batch: 64,
  steps: 1000,
  optimizer: adamwCosine({ rate: 2e-3, warmup: 100 }),
  mesh: { batch: 2, model: 2 },
  layout: { batch: 'batch', heads: 'model', hidden: 'model' },
  evaluation: { every: 250, batches: 8 },
})
export default run
