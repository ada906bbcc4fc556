/** A program of the tests' own as the package is built: a process that makes JavaScript of a few hundred sources by itself takes a second and a half of a core for that alone, and jobs have many ranks. */
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'
import config from '../../rolldown.config.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** What sources look for beside them, from wherever the pieces lie. */
const beside = ['native', 'node_modules', 'package.json', 'LICENSE']

/** @param file below test/ @returns where it lies; it is removed when this process ends */
export async function built(file: string): Promise<string> {
  const { output, ...how } = config
  // Two levels down, as the tests' own files and the pieces of src/ are: paths from there are the same.
  const name = `test/${file.slice(0, -'.ts'.length)}`
  const folder = mkdtempSync(join(tmpdir(), 'meshwork-built-'))
  process.on('exit', () => { rmSync(folder, { recursive: true, force: true }) })
  const dist = join(folder, 'dist')
  await using bundle = await rolldown({ ...how, input: { ...how.input, [name]: join(root, `${name}.ts`) } })
  await bundle.write({ ...output, dir: dist })
  for (const one of beside) for (const under of [folder, dist]) symlinkSync(join(root, one), join(under, one))
  return join(dist, `${name}.js`)
}
