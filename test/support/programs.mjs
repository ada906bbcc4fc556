// Programs, one after another in one process: starting Node and loading the package takes longer than most of them compute. `programs.mjs FILE…` writes a line of JSON for each.
// Plain JavaScript, so that nothing but the programs themselves knows of TypeScript here.
import { pathToFileURL } from 'node:url'
import { captured } from './captured.mjs'

const [node, , ...files] = process.argv
const write = process.stdout.write.bind(process.stdout)
for (const file of files) {
  process.argv = [node, file]
  const { printed, restore } = captured()
  try {
    await import(pathToFileURL(file).href)
  } catch (e) {
    printed.err += e instanceof Error ? `${e.stack}\n` : `${String(e)}\n`
  }
  restore()
  write(`${JSON.stringify(printed)}\n`)
}
