// A BERT that tells in which of fourteen languages a line is written, by its bytes: messages of TypeScript's compiler, which the package `typescript` has in all of them.
// One message in ten is held out, in every language.
//
//   npx meshwork train examples/language.ts
import { createRequire } from 'node:module'
import { hash, type DataSource } from 'meshwork/data'
import { bertClassifierModel } from 'meshwork/models'
import { adamwCosine, defineRun, type Run } from 'meshwork/train'

const languages = ['en', 'cs', 'de', 'es', 'fr', 'it', 'ja', 'ko', 'pl', 'pt-br', 'ru', 'tr', 'zh-cn', 'zh-tw'] as const
// What is no byte: padding, and the sign that a line begins, at whose place the class is told.
const [padding, begin, firstByte] = [0, 1, 2]
const longest = 48

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
interface Message { readonly key: string; readonly message: string }
const load = typescript()
const english = Object.values((load('typescript') as { Diagnostics: { [name: string]: Message } }).Diagnostics)
const messages = languages.map(language => {
  const translated = language === 'en' ? undefined : load(`typescript/lib/${language}/diagnosticMessages.generated.json`) as { readonly [key: string]: string }
  return english.map(({ key, message }) => (translated === undefined ? message : translated[key])).filter(text => text !== undefined)
})

/** Lines in random languages; the place of a message in its list says whether it is held out. */
const lines = (heldOut: boolean, texts = messages.map(all => all.filter((_, i) => (i % 10 === 0) === heldOut))): DataSource<{ tokens: Int32Array; mask: Uint8Array; labels: Int32Array }> => ({
  batch(step, { from, to }) {
    const rows = to - from
    const [tokens, mask, labels] = [new Int32Array(rows * longest).fill(padding), new Uint8Array(rows * longest), new Int32Array(rows)]
    for (let row = 0; row < rows; row++) {
      const draw = (use: number, below: number): number => hash(heldOut ? 1 : 2, step, from + row, use) % below
      const language = draw(0, languages.length)
      const own = texts[language] ?? []
      const bytes = new TextEncoder().encode(own[draw(1, own.length)]).subarray(0, longest - 1)
      tokens.set([begin, ...Array.from(bytes, byte => byte + firstByte)], row * longest)
      mask.fill(1, row * longest, row * longest + bytes.length + 1)
      labels[row] = language
    }
    return { tokens, mask, labels }
  },
})

const run: Run = defineRun({
  name: 'language',
  model: bertClassifierModel({ vocab: 256 + firstByte, seq: longest, positions: longest, types: 1, layers: 2, embed: 64, heads: 4, hidden: 128, classes: languages.length }),
  data: lines(false),
  heldOut: lines(true),
  batch: 64,
  steps: 1500,
  optimizer: adamwCosine({ rate: 2e-3, warmup: 200, weightDecay: 0.01 }),
  mesh: { batch: 2, model: 2 },
  layout: { batch: 'batch', heads: 'model', hidden: 'model' },
  evaluation: { every: 300, batches: 16 },
})
export default run
