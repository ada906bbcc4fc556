/** The optimizers' judges: optax, PyTorch and copies of papers say again what lies in optimizers.json, which `npm test` holds ours to. `UPDATE_ORACLE=1` writes it anew. */
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Backend } from '../../src/engine/index.ts'
import type { Report } from './compare.ts'
import { optaxPython, PythonError, run, type Say } from './python.ts'

const at = (file: string): string => fileURLToPath(new URL(file, import.meta.url))
const limit = 1e-6

type Json = string | number | readonly Json[] | { readonly [key: string]: Json }
interface Compared { readonly what: string; readonly error: number }

/** What lies at every path of both, and how far apart it is: numbers, and numbers in base64. */
function distances(a: Json | undefined, b: Json, what: string): Compared[] {
  if (typeof b === 'number') return [{ what, error: typeof a === 'number' ? Math.abs(a - b) / Math.max(Math.abs(b), 1e-9) : Infinity }]
  if (typeof b === 'string') {
    const floats = (text: string): number[] => [...new Float32Array(new Uint8Array(Buffer.from(text, 'base64')).buffer)]
    const [x, y] = [typeof a === 'string' ? floats(a) : [], floats(b)]
    const error = x.length === y.length ? Math.hypot(...x.map((n, i) => n - (y[i] ?? NaN))) / Math.max(Math.hypot(...y), 1e-20) : Infinity
    return [{ what, error: Number.isNaN(error) ? Infinity : error }]
  }
  const of = (x: Json | undefined): { readonly [key: string]: Json } => (typeof x === 'object' ? x as { readonly [key: string]: Json } : {})
  const keys = new Set([...Object.keys(of(a)), ...Object.keys(of(b))])
  return [...keys].flatMap(key => { const y = of(b)[key]; return y === undefined ? [{ what: `${what}.${key}`, error: Infinity }] : distances(of(a)[key], y, `${what}.${key}`) })
}

/** Asks the judges again, and compares with what is committed. */
export async function optimizersReport(_: Backend, say: Say): Promise<Report> {
  const python = await optaxPython(say)
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-oracle-'))
  try {
    say('judging optimizers and schedules')
    const file = join(folder, 'optimizers.json')
    const { code, output } = await run(python, [at('optimizers.py'), file])
    if (code !== 0) throw new PythonError({ code: 'judge', what: 'optax and PyTorch could not judge', details: { said: output.split('\n').slice(-3).join(' ') } })
    const read = async (path: string): Promise<{ readonly [part: string]: Json }> => JSON.parse(await readFile(path, 'utf8')) as { readonly [part: string]: Json }
    const fresh = await read(file)
    if (process.env['UPDATE_ORACLE'] === '1') await copyFile(file, at('optimizers.json'))
    const kept = await read(at('optimizers.json'))
    const compared = ['optimizers', 'schedules'].flatMap(part => distances(kept[part], fresh[part] ?? {}, part))
    const failed = compared.filter(c => !(c.error <= limit))
    const worst = Math.max(...compared.map(c => c.error))
    const judge = Object.entries(fresh['judges'] ?? {}).map(([name, version]) => `${name} ${String(version)}`).join(', ')
    return {
      judge, plugin: 'none', passes: failed.length === 0 && compared.length > 0, worst: { fixture: worst }, verdicts: failed,
      text: [...failed.map(c => `${c.what} is ${c.error.toExponential(1)} apart`), `${compared.length - failed.length} of ${compared.length} results in optimizers.json are what ${judge} say; the worst: ${worst.toExponential(1)}`].join('\n'),
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
