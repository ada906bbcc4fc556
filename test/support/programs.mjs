// Programs, one after another in one process: starting Node and loading the package takes longer than most of them compute. `programs.mjs FILE…` writes a line of JSON for each.
// Plain JavaScript, so that nothing but the programs themselves knows of TypeScript here.
import { pathToFileURL } from 'node:url'

const [node, , ...files] = process.argv
const write = process.stdout.write.bind(process.stdout)
for (const file of files) {
  process.argv = [node, file]
  const ended = { out: '', err: '' }
  const kept = [[process.stdout, 'out'], [process.stderr, 'err']].map(([stream, key]) => {
    const { write } = stream
    stream.write = (chunk, ...rest) => {
      ended[key] += chunk.toString()
      rest.find(r => typeof r === 'function')?.()
      return true
    }
    return () => { stream.write = write }
  })
  try {
    await import(pathToFileURL(file).href)
  } catch (e) {
    ended.err += e instanceof Error ? `${e.stack}\n` : `${String(e)}\n`
  }
  for (const restore of kept) restore()
  write(`${JSON.stringify(ended)}\n`)
}
