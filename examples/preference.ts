// A language model learns which of two answers is preferred (DPO): a small Llama, compared with a frozen copy of what it began as, and a dozen pairs of answers. Tokens are
// characters here, and the pairs a source of one's own; those of a model that exists come from files:
//
//   data: pairData({ files: ['pairs.jsonl'], tokenizer: 'models/smollm2/tokenizer.json' })        records { "prompt": …, "chosen": …, "rejected": … }, texts or messages
//   model: preferenceModel(loraModel(llamaModel({ … }), { rank: 16 }), { beta: 0.1 })             adapters, compared with the weights without them: no second copy
//
//   npx meshwork train examples/preference.ts
import { hash, type DataSource } from 'meshwork/data'
import { llamaModel, preferenceModel } from 'meshwork/models'
import { adamwCosine, defineRun, type Hook, type Run } from 'meshwork/train'

const pairs: readonly (readonly [prompt: string, chosen: string, rejected: string])[] = [
  ['How are you?', ' Well, thank you.', ' Why do you ask?'], ['Can you help?', ' With pleasure.', ' Not now.'], ['What is 2 + 2?', ' It is 4.', ' Count yourself.'],
  ['Who are you?', ' A small model.', ' None of your business.'], ['Good morning!', ' Good morning to you.', ' Is it?'], ['Is it raining?', ' I cannot see outside.', ' Look out of the window.'],
  ['Tell me a joke.', ' Two dims met on a mesh.', ' No.'], ['Thank you.', ' You are welcome.', ' Whatever.'], ['What is a mesh?', ' Devices in rows.', ' A net, obviously.'],
  ['Goodbye!', ' See you soon.', ' Finally.'], ['Are you sure?', ' I may be wrong.', ' Always.'], ['Say it again.', ' Of course.', ' I said it once.'],
]

const seq = 40
/** A prompt, of which nothing is learnt, and an answer. A place's target is the character behind it; −100 does not count. */
function write(prompt: string, answer: string, tokens: Int32Array, targets: Int32Array): void {
  const text = `${prompt}${answer}\n`
  for (let i = 0; i + 1 < text.length && i < seq; i++) {
    tokens[i] = text.charCodeAt(i) % 128
    if (i + 1 >= prompt.length) targets[i] = text.charCodeAt(i + 1) % 128
  }
}

type Side = { tokens: Int32Array; targets: Int32Array }
/** Rows of a step, by step and row alone: drawn, or all of them in their order. */
const answers = (pairOf: (step: number, row: number) => number): DataSource<{ chosen: Side; rejected: Side }> => ({
  batch(step, { from, to }) {
    const side = (which: 1 | 2): Side => {
      const [tokens, targets] = [new Int32Array((to - from) * seq), new Int32Array((to - from) * seq).fill(-100)]
      for (let row = from; row < to; row++) {
        const pair = pairs[pairOf(step, row)] ?? ['', '', '']
        const at = (row - from) * seq
        write(pair[0], pair[which], tokens.subarray(at, at + seq), targets.subarray(at, at + seq))
      }
      return { tokens, targets }
    }
    return { chosen: side(1), rejected: side(2) }
  },
})

const batch = 12
let before = 0
const telling: Hook = event => {
  const accuracy = event.type === 'eval' ? event.metrics['accuracy'] : undefined
  if (accuracy === undefined || accuracy <= before) return
  before = accuracy
  console.error(`the chosen answer is preferred in ${Math.round(100 * accuracy)} % of the pairs`)
}

const run: Run = defineRun({
  name: 'preference',
  model: preferenceModel(llamaModel({ vocab: 128, seq, layers: 2, embed: 32, heads: 4, kvHeads: 2, headDim: 8, hidden: 64, tied: true }), { beta: 0.1 }),
  data: answers((step, row) => hash(1, step, row) % pairs.length),
  heldOut: answers((step, row) => (step * batch + row) % pairs.length),
  batch,
  steps: 60,
  optimizer: adamwCosine({ rate: 3e-3, warmup: 5 }),
  mesh: { batch: 2, model: 2 },
  layout: { batch: 'batch', kvHeads: 'model', hidden: 'model', vocab: 'model' },
  evaluation: { every: 15, batches: 1 },
  hooks: [telling],
})
export default run
