// A model in a program: texts as they come, many at once, a choice that is enforced, and the likeliest texts of a search.
// With a folder (of a run, or in Hugging Face's layout) it is that model; without one, a small one that is trained here for some seconds first.
//
//   npx tsx examples/write.ts models/smollm2
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openBackend, type Backend } from 'meshwork'
import { textData } from 'meshwork/data'
import { llamaModel } from 'meshwork/models'
import { openModel } from 'meshwork/serve'
import { adamwCosine, defineRun, train } from 'meshwork/train'

const temporary = mkdtempSync(join(tmpdir(), 'meshwork-write-'))

/** A run's folder, of a model that learns one sentence. */
async function small(backend: Backend): Promise<string> {
  writeFileSync(join(temporary, 'text.txt'), 'we the people hold these truths. '.repeat(200))
  const run = defineRun({
    name: 'write', steps: 60, batch: 8, mesh: { batch: 1, model: 2 }, layout: { kvHeads: 'model', hidden: 'model' }, evaluation: { batches: 1 },
    model: llamaModel({ vocab: 280, seq: 32, layers: 1, embed: 32, heads: 4, kvHeads: 2, headDim: 8, hidden: 64, tied: true }),
    data: textData({ files: [join(temporary, 'text.txt')] }), optimizer: adamwCosine({ rate: 1e-2 }),
  })
  await train(run, { backend, out: join(temporary, 'run') })
  return join(temporary, 'run')
}

async function whole(pieces: AsyncIterable<string>): Promise<string> {
  let text = ''
  for await (const piece of pieces) text += piece
  return text
}

const backend = await openBackend({ plugin: 'simulate', devices: 2 })
const folder = process.argv[2] ?? await small(backend)
const model = await openModel(folder, { backend, mesh: { model: 2 } })

for await (const piece of model.generate('we the', { maxTokens: 12 })) process.stdout.write(piece)
console.log()

// Asked at once, they are computed together; each is the same as alone.
console.log(await Promise.all(['we', 'hold these', 'people'].map(prompt => whole(model.generate(prompt, { maxTokens: 6, temperature: 0.8, seed: 7 })))))

console.log(await whole(model.generate('we the people hold these ', { constraint: { type: 'choice', choices: ['truths', 'lies'] } })))

for (const { text, score } of await model.beamSearch('we the', { beams: 3, maxTokens: 6 })) console.log(score.toFixed(3), JSON.stringify(text))

await model.close()
await backend.close()
rmSync(temporary, { recursive: true })
