/** Pythons of our own, with PyTorch or JAX in them, kept in the user's cache folder: the judges, and the peers of the benchmark. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { MeshworkError } from '../../src/core/errors.ts'
import { cacheRoot } from '../../src/runtime/plugins/index.ts'
import { withLock } from '../../src/io/lock.ts'

export const torchVersion = '2.13.0'
export const jaxVersion = '0.10.2'
export const safetensorsVersion = '0.8.0'
export const tokenizersVersion = '0.23.3'
interface Environment { readonly folder: string; readonly name: string; readonly packages: readonly string[]; readonly oldest: readonly [number, number] }
// NumPy only carries bytes between files and the judge: any of these will do, so each Python finds one.
const torch: Environment = { folder: `oracle-${torchVersion}`, name: 'PyTorch', packages: [`torch==${torchVersion}`, 'numpy>=2.1,<3'], oldest: [3, 10] }
const jax: Environment = { folder: `oracle-jax-${jaxVersion}`, name: 'JAX', packages: [`jax==${jaxVersion}`, `jaxlib==${jaxVersion}`, 'numpy>=2.1,<3'], oldest: [3, 11] }
const jaxCard: Environment = { folder: `oracle-jax-cuda12-${jaxVersion}`, name: 'JAX', packages: [`jax[cuda12]==${jaxVersion}`, 'numpy>=2.1,<3'], oldest: [3, 11] }
export const optaxVersion = '0.2.8'
const optax: Environment = { folder: `oracle-optax-${optaxVersion}`, name: 'optax', packages: [`optax==${optaxVersion}`, `jax==${jaxVersion}`, `jaxlib==${jaxVersion}`, `torch==${torchVersion}`, 'numpy>=2.1,<3'], oldest: [3, 11] }
const safetensors: Environment = { folder: `oracle-safetensors-${safetensorsVersion}`, name: 'safetensors', packages: [`safetensors==${safetensorsVersion}`, 'numpy>=2.1,<3'], oldest: [3, 10] }
const tokenizers: Environment = { folder: `oracle-tokenizers-${tokenizersVersion}`, name: 'tokenizers', packages: [`tokenizers==${tokenizersVersion}`], oldest: [3, 10] }
export const transformersVersion = '5.24.0'
const transformers: Environment = { folder: `oracle-transformers-${transformersVersion}`, name: 'transformers', packages: [`transformers==${transformersVersion}`, `torch==${torchVersion}`, 'numpy>=2.1,<3'], oldest: [3, 10] }

export const peftVersion = '0.21.2'
const peft: Environment = { folder: `oracle-peft-${peftVersion}`, name: 'peft', packages: [`peft==${peftVersion}`, `transformers==${transformersVersion}`, `torch==${torchVersion}`, 'numpy>=2.1,<3'], oldest: [3, 10] }
export const sacrebleuVersion = '2.6.0'
const measuring: Environment = {
  folder: `oracle-measure-${transformersVersion}-${sacrebleuVersion}`, name: 'transformers', oldest: [3, 11],
  packages: [`transformers==${transformersVersion}`, `torch==${torchVersion}`, 'numpy>=2.1,<3', `sacrebleu==${sacrebleuVersion}`, 'scikit-learn==1.9.1', 'scipy>=1.14,<2'],
}

export const llguidanceVersion = '1.9.1'
const llguidance: Environment = { folder: `oracle-llguidance-${llguidanceVersion}`, name: 'llguidance', packages: [`llguidance==${llguidanceVersion}`, 'numpy>=2.1,<3'], oldest: [3, 10] }
export const lmEvalVersion = '0.4.13'
const lmEval: Environment = { folder: `oracle-lm-eval-${lmEvalVersion}`, name: 'lm-eval', packages: [`lm_eval[api]==${lmEvalVersion}`], oldest: [3, 10] }
export const [complyVersion, schemathesisVersion, benchyVersion] = ['0.5.0', '4.32.5', '0.4.0'] as const
const clients: Environment = {
  folder: `oracle-clients-${complyVersion}-${schemathesisVersion}-${benchyVersion}`, name: 'llama-benchy', oldest: [3, 10],
  packages: [`llm-comply==${complyVersion}`, `schemathesis==${schemathesisVersion}`, `llama-benchy==${benchyVersion}`],
}

/** No Python, or one that cannot be used. */
export class PythonError extends MeshworkError {}

export type Say = (line: string) => void

interface Ended { readonly code: number | undefined; readonly output: string }

/** Runs a command to its end, handing on each line; `code` is undefined where it could not be started. */
export function run(command: string, args: readonly string[], onLine: Say = () => {}): Promise<Ended> {
  return new Promise(resolve => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } })
    const lines: string[] = []
    for (const stream of [child.stdout, child.stderr]) {
      createInterface(stream).on('line', line => {
        lines.push(line)
        onLine(line)
      })
    }
    child.on('error', () => { resolve({ code: undefined, output: '' }) })
    child.on('close', code => { resolve({ code: code ?? -1, output: lines.join('\n') }) })
  })
}

/** The user's Python. @throws PythonError where there is none, or it is too old, or cannot make environments. */
async function findPython({ name, oldest }: Environment): Promise<string> {
  const tried = ['python3', 'python']
  const probe = `import sys; assert sys.version_info >= (${oldest.join(', ')}), 'it is ' + sys.version.split()[0]; import venv, ensurepip`
  let reason: string | undefined
  for (const command of tried) {
    const { code, output } = await run(command, ['-c', probe])
    if (code === 0) return command
    if (code !== undefined) reason ??= `${command}: ${output.split('\n').at(-1) ?? ''}`
  }
  throw new PythonError({
    code: 'no-python', what: `a Python ≥ ${oldest.join('.')} with venv and pip is needed to run ${name}`,
    details: { tried: tried.join(', '), found: reason ?? 'none of them' },
    fix: 'install one (Debian: apt install python3 python3-venv), then run it again',
  })
}

/**
 * The interpreter of the environment, which is made where it is not there yet.
 * @throws PythonError when it cannot be made; what was made by half is removed by the next attempt.
 */
async function pythonOf(environment: Environment, say: Say): Promise<string> {
  const { name, packages } = environment
  const folder = join(cacheRoot(), environment.folder)
  const [python, stamp] = [join(folder, 'bin', 'python'), join(folder, '.complete')]
  if (existsSync(stamp)) return python
  const parent = cacheRoot()
  await mkdir(parent, { recursive: true })
  const onWait = (holder: string): void => { say(`waiting for another process that makes the Python environment (${holder})`) }
  return withLock(parent, { onWait }, async () => {
    if (existsSync(stamp)) return python
    await rm(folder, { recursive: true, force: true })
    const base = await findPython(environment)
    say(`making a Python environment in ${folder}`)
    await must('venv', 'check that the folder can be written', await run(base, ['-m', 'venv', folder]))
    say(`installing ${packages.join(' and ')} into it (once; ${name} is large)`)
    const pip = ['-m', 'pip', 'install', '--no-input', '--disable-pip-version-check', '--progress-bar', 'off', ...packages]
    const told = (line: string): void => { if (/^\s*(Downloading|Installing)/.test(line)) say(`  ${line.trim().slice(0, 120)}`) }
    const fix = 'check the network, or pip\'s index and proxy (pip config list), then run it again'
    await must('pip', fix, await run(python, pip, told))
    await writeFile(stamp, `${packages.join('\n')}\n`)
    return python
  })
}

export const torchPython = (say: Say): Promise<string> => pythonOf(torch, say)
export const jaxPython = (say: Say): Promise<string> => pythonOf(jax, say)
/** With NVIDIA's libraries and JAX's plugin for its cards. */
export const jaxCardPython = (say: Say): Promise<string> => pythonOf(jaxCard, say)
/** With PyTorch in it, too. */
export const optaxPython = (say: Say): Promise<string> => pythonOf(optax, say)
export const safetensorsPython = (say: Say): Promise<string> => pythonOf(safetensors, say)
export const tokenizersPython = (say: Say): Promise<string> => pythonOf(tokenizers, say)
export const transformersPython = (say: Say): Promise<string> => pythonOf(transformers, say)
/** With transformers and PyTorch in it, too. */
export const peftPython = (say: Say): Promise<string> => pythonOf(peft, say)
/** With sacrebleu, scikit-learn and SciPy in it, too. */
export const measurePython = (say: Say): Promise<string> => pythonOf(measuring, say)
export const llguidancePython = (say: Say): Promise<string> => pythonOf(llguidance, say)
export const lmEvalPython = (say: Say): Promise<string> => pythonOf(lmEval, say)
/** With llm-comply, schemathesis and llama-benchy in it. */
export const clientsPython = (say: Say): Promise<string> => pythonOf(clients, say)

async function must(what: string, fix: string, { code, output }: Ended): Promise<void> {
  if (code === 0) return
  const lines = output.split('\n').filter(line => line.trim() !== '')
  throw new PythonError({
    code: what, what: `${what} failed with exit code ${code ?? 'none'}`, fix,
    details: { said: (lines.findLast(line => line.startsWith('ERROR')) ?? lines.at(-1) ?? 'nothing').slice(0, 300) },
  })
}
