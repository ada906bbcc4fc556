// The smallest run that has everything to lose: `node run.mjs OUT` trains it, with its events as JSON lines, and goes on where it was killed.
import { fileURLToPath } from 'node:url'
import { textData } from '../../dist/src/data/index.js'
import { dims, dropout, initialisers, input, openBackend, param } from '../../dist/src/index.js'
import { crossEntropy, weightedMean } from '../../dist/src/nn/index.js'
import { adamw, averageParameters, chain, cosine } from '../../dist/src/optim/index.js'
import { defineRun, train } from '../../dist/src/train/index.js'

const { SOAK_STEPS: steps = '66', SOAK_TEXT: text = '' } = process.env
const d = dims({ batch: 4, seq: 8, vocab: 260, embed: 4, next: 260 })
const ids = name => input(name, [d.batch, d.seq], 'i32')
/** Which token follows which, with dropout, so that the step's key counts. */
const pairs = {
  dims: d, itemsPerBatch: 4, tokensPerBatch: 32, ignored: -100,
  params: { from: param('from', [d.vocab, d.embed], { init: initialisers.normal(0.5), decays: true }), to: param('to', [d.embed, d.next], { init: initialisers.normal(0.5) }) },
  batch: { tokens: ids('tokens'), targets: ids('targets') },
  loss: ({ from, to }, { tokens, targets }, key) => {
    const seen = from.take(d.vocab, tokens)
    const logits = (key === undefined ? seen : dropout(key, seen, 0.1)).dot(to, d.embed)
    const { value: loss, weight } = weightedMean(crossEntropy(logits, d.next, targets, { ignore: -100 }), targets.notEqual(-100))
    return { loss, weight }
  },
}
const run = defineRun({
  name: 'pairs', model: pairs, data: textData({ files: [text], vocab: 260, rows: 'windows' }), steps: Number(steps), seed: 5, mesh: { batch: 1 },
  optimizer: chain(adamw({ rate: cosine({ peak: 0.01, warmup: 3, steps: Number(steps) }) }), averageParameters({ decay: 0.9 })),
  evaluation: { every: 10, batches: 2 }, checkpoint: { every: 5, keep: { last: 2, best: 1 } }, guard: { policy: 'skip', spike: 6, after: 10 },
  hooks: [event => { globalThis.meshworkSoak?.(event) }],
})
export default run

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const backend = await openBackend({ plugin: 'simulate', devices: 1 })
  await train(run, { backend, out: process.argv[2], onEvent: event => { process.stdout.write(`${JSON.stringify(event)}\n`) } })
  await backend.close()
}
