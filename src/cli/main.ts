/** The command line: parses, runs a command, and turns every failure into one message and an exit code. */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { MeshworkError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { doctorCommand } from './doctor.ts'
import { generateCommand } from './generate.ts'
import { pluginsCommand } from './plugins.ts'
import { trainCommand } from './train.ts'

// From dist/src/cli and from src/cli alike.
function version(): string {
  for (const up of ['../..', '../../..']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(`${up}/package.json`, import.meta.url), 'utf8')) as { name?: string; version?: string }
      if (name === 'meshwork' && version !== undefined) return version
    } catch { /* the other place */ }
  }
  return 'unknown'
}

function program(): Command {
  const root = new Command('meshwork')
    .description('Distributed machine learning in TypeScript: one model over named dims, split over a mesh of devices.')
    .version(version())
    .option('--debug', 'print stack traces of errors')
    .showSuggestionAfterError(false)
    .addHelpText('after', '\nExample:\n  $ npx meshwork train gpt-tiny --batch 2 --model 2')
  for (const command of [trainCommand(), generateCommand(), doctorCommand(), pluginsCommand()]) root.addCommand(command)
  // Errors are ours to print, and the process ours to end.
  const quiet = (c: Command): void => {
    c.exitOverride().configureOutput({ writeErr: () => {} })
    c.commands.forEach(quiet)
  }
  quiet(root)
  return root
}

/** What commander calls wrong, as the rest of Meshwork says it. */
function usageText(e: CommanderError, root: Command): string {
  const text = e.message.replace(/^error: /, '')
  const [, flag] = /unknown option '([^']+)'/.exec(text) ?? []
  const [, name] = /unknown command '([^']+)'/.exec(text) ?? []
  const flags = root.commands.flatMap(c => c.options.map(o => o.long ?? '')).filter(f => f !== '')
  const fix = flag !== undefined ? didYouMean(flag, new Set(flags)) : name !== undefined ? didYouMean(name, root.commands.map(c => c.name())) : 'see --help'
  return `UsageError[${e.code.replace('commander.', '')}] ${text}\n  fix  ${fix}`
}

/** Runs a command line. Resolves to the exit code; nothing is thrown. */
export async function main(args: readonly string[]): Promise<number> {
  const root = program()
  const debug = args.includes('--debug')
  try {
    await root.parseAsync(args.filter(a => a !== '--debug'), { from: 'user' })
    return Number(process.exitCode ?? 0)
  } catch (e) {
    if (e instanceof CommanderError) {
      if (e.exitCode === 0) return 0
      process.stderr.write(`${e.code === 'commander.help' ? root.helpInformation() : usageText(e, root)}\n`)
      return 2
    }
    const text = e instanceof MeshworkError ? e.message : `Error: ${e instanceof Error ? e.message : String(e)}`
    process.stderr.write(`${text}\n`)
    if (debug && e instanceof Error) process.stderr.write(`${e.stack ?? ''}\n${e.cause === undefined ? '' : `caused by ${e.cause instanceof Error ? (e.cause.stack ?? '') : String(e.cause)}\n`}`)
    return e instanceof MeshworkError ? e.exitCode : 1
  }
}
