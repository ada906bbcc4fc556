// llama.cpp's likeliest tokens along given texts: `node llama-cpp.mjs FOLDER-OF-PACKAGES MODEL.gguf FOLDER`. FOLDER has ids.json, rows of token ids, and starts.json, from where on in each what comes next is asked;
// it gets llama.json: of each place the likeliest token, and where that is not the one that comes, the log-probabilities of both.
import { createRequire } from 'node:module'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [packages, path, folder] = process.argv.slice(2)
const { getLlama } = await import(pathToFileURL(createRequire(join(packages, 'package.json')).resolve('node-llama-cpp')).href)
const read = name => JSON.parse(readFileSync(join(folder, name), 'utf8'))
const [rows, starts] = [read('ids.json'), read('starts.json')]
const llama = await getLlama({ build: 'never', gpu: false, maxThreads: 2, logLevel: 'error' })
const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 })
const context = await model.createContext({ contextSize: 512, threads: 2, sequences: 1 })
const sequence = context.getSequence()
const found = []
for (const [i, row] of rows.entries()) {
  const asked = place => place >= starts[i] - 1 && place < row.length - 1
  const evaluate = wants => sequence.controlledEvaluate(row.slice(0, -1).map((token, place) => (wants(place) ? [token, { generateNext: { token: true, ...wants(place), options: { temperature: 0 } } }] : token)))
  await sequence.clearHistory()
  const first = await evaluate(place => (asked(place) ? {} : undefined))
  const places = row.slice(0, -1).map((_, place) => place).filter(asked)
  const others = places.filter(place => first[place]?.next?.token !== row[place + 1])
  await sequence.clearHistory()
  const second = others.length === 0 ? [] : await evaluate(place => (others.includes(place) ? { probabilities: true } : undefined))
  found.push(places.map(place => {
    const token = first[place]?.next?.token
    const of = second[place]?.next?.probabilities
    return of === undefined ? { token } : { token, best: Math.log(of.get(token)), ours: Math.log(of.get(row[place + 1])) }
  }))
}
writeFileSync(join(folder, 'llama.json'), JSON.stringify(found))
await llama.dispose()
