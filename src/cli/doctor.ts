/** `meshwork doctor`: what this machine has, and what is missing, each with its fix. */
import { access, constants, mkdir } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { Command } from 'commander'
import { MeshworkError } from '../core/errors.ts'
import { inspectPlugin } from '../runtime/pjrt/index.ts'
import { cacheRoot, resolvePlugin, verifyPlugin } from '../runtime/plugins/index.ts'
import { formatTable } from './format.ts'
import { openOutput } from './output.ts'

interface Finding { readonly what: string; readonly value: string; readonly ok: boolean; readonly fix?: string }

const least = [20, 19] as const

function node(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const ok = major > least[0] || (major === least[0] && minor >= least[1])
  return { what: 'Node', value: process.versions.node, ok, ...(ok ? {} : { fix: `install Node ${least.join('.')} or newer` }) }
}

async function cache(): Promise<Finding> {
  const root = cacheRoot()
  try {
    await mkdir(root, { recursive: true })
    await access(root, constants.W_OK)
    return { what: 'cache', value: root, ok: true }
  } catch (e) {
    return { what: 'cache', value: `${root}: ${e instanceof Error ? e.message : String(e)}`, ok: false, fix: 'set MESHWORK_CACHE_DIR to a folder that you may write to' }
  }
}

async function plugin(name: string): Promise<Finding[]> {
  try {
    const path = await resolvePlugin(name)
    const found: Finding[] = [{ what: 'plugin', value: path, ok: true }]
    const verified = name === 'cpu' ? await verifyPlugin('cpu') : undefined
    if (verified !== undefined && verified.path === path) {
      found.push({ what: 'checksum', value: verified.intact ? 'as the catalog has it' : 'differs from the catalog', ok: verified.intact, ...(verified.intact ? {} : { fix: 'npx meshwork plugins install cpu --force' }) })
    }
    const report = await inspectPlugin(path)
    found.push({ what: 'PJRT', value: describe(report), ok: true })
    return found
  } catch (e) {
    if (!(e instanceof MeshworkError)) throw e
    return [{ what: 'plugin', value: e.problem.what, ok: false, fix: e.problem.fix ?? 'use --plugin simulate' }]
  }
}

const describe = (report: object): string => Object.entries(report).filter(([, v]) => v !== undefined && v !== null && typeof v !== 'object').map(([k, v]) => `${k} ${String(v)}`).join(', ')

export const doctorCommand = (): Command => new Command('doctor')
  .description('Check Node, the plugin, the devices and the caches.')
  .option('--plugin <name|path>', 'the plugin to look at', 'cpu')
  .option('--json', 'print as JSON')
  .addHelpText('after', '\nExample:\n  $ npx meshwork doctor')
  .action(async (flags: { readonly plugin: string; readonly json?: boolean }) => {
    const findings: Finding[] = [
      node(),
      { what: 'machine', value: `${process.platform} ${process.arch}`, ok: process.platform === 'linux', ...(process.platform === 'linux' ? {} : { fix: 'plugins of the catalog are for Linux: use --plugin simulate' }) },
      { what: 'threads', value: String(availableParallelism()), ok: true },
      await cache(),
      ...flags.plugin === 'simulate' ? [] : await plugin(flags.plugin),
    ]
    const ok = findings.every(f => f.ok)
    if (flags.json === true) process.stdout.write(`${JSON.stringify({ ok, findings }, null, 2)}\n`)
    else {
      const output = openOutput()
      formatTable(findings.map(f => [f.ok ? 'ok' : 'PROBLEM', f.what, f.value]), 9).forEach((line, i) => {
        output.print(line)
        const fix = findings[i]?.fix
        if (fix !== undefined) output.print(`         fix: ${fix}`)
      })
    }
    if (!ok) process.exitCode = 1
  })
