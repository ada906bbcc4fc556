/** The command line: parses, runs a command, and turns every failure into one message and an exit code. */
import { Command, CommanderError } from 'commander'
import { MeshworkError, UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { currentJob } from '../runtime/job.ts'
import { FailedElsewhere } from '../runtime/processes.ts'
import { version } from '../io/version.ts'
import { Stopped, watchPipes } from './interrupt.ts'
import { heading, speaks } from './job.ts'

/** Each command's own module, loaded when it is asked for: together they are three times what training takes to load. */
const commands: { readonly [name: string]: () => Promise<Command> } = {
  train: async () => (await import('./train.ts')).trainCommand(),
  plan: async () => (await import('./plan.ts')).planCommand(),
  calibrate: async () => (await import('./calibrate.ts')).calibrateCommand(),
  watch: async () => (await import('./watch.ts')).watchCommand(),
  stop: async () => (await import('./stop.ts')).stopCommand(),
  profile: async () => (await import('./profile.ts')).profileCommand(),
  finetune: async () => (await import('./finetune.ts')).finetuneCommand(),
  eval: async () => (await import('./eval.ts')).evalCommand(),
  generate: async () => (await import('./generate.ts')).generateCommand(),
  chat: async () => (await import('./chat.ts')).chatCommand(),
  serve: async () => (await import('./serve.ts')).serveCommand(),
  embed: async () => (await import('./embed.ts')).embedCommand(),
  import: async () => (await import('./import.ts')).importCommand(),
  export: async () => (await import('./import.ts')).exportCommand(),
  checkpoint: async () => (await import('./checkpoint.ts')).checkpointCommand(),
  data: async () => (await import('./data.ts')).dataCommand(),
  doctor: async () => (await import('./doctor.ts')).doctorCommand(),
  plugins: async () => (await import('./plugins.ts')).pluginsCommand(),
  models: async () => (await import('./models.ts')).modelsCommand(),
  mpi: async () => (await import('./mpi.ts')).mpiCommand(),
}

/** The command line; where the first word is a command, with that one alone. */
async function program([first = '']: readonly string[]): Promise<Command> {
  const root = new Command('meshwork')
    .description('Distributed machine learning in TypeScript: one model over named dims, split over a mesh of devices.')
    .version(version)
    .option('--debug', 'print stack traces of errors')
    .addHelpText('after', '\nExample:\n  $ npx meshwork train gpt-tiny --batch 2 --model 2')
  const asked = Object.hasOwn(commands, first) ? [commands[first]] : Object.values(commands)
  for (const load of asked) if (load !== undefined) root.addCommand(await load())
  // Errors are ours to print, and the process ours to end.
  const quiet = (c: Command): void => {
    c.exitOverride().showSuggestionAfterError(false).configureOutput({ outputError: () => {} })
    c.commands.forEach(quiet)
  }
  quiet(root)
  return root
}

/** The command that the arguments come to. */
const commandOf = (root: Command, args: readonly string[]): Command =>
  args.reduce<Command>((at, arg) => at.commands.find(c => c.name() === arg) ?? at, root)

const pathOf = (command: Command): string => (command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`)

/** What commander calls wrong, as the rest of Meshwork says it. */
function usageError(e: CommanderError, command: Command): UsageError {
  const what = e.message.replace(/^error: /, '').replaceAll('\'', '"')
  const [, flag] = /unknown option "([^"]+)"/.exec(what) ?? []
  const [, name] = /unknown command "([^"]+)"/.exec(what) ?? []
  const flags = new Set([...command.options.flatMap(o => o.long ?? []), '--help', '--debug'])
  return new UsageError({
    code: e.code.replace('commander.', '').replace(/[A-Z]/g, c => `-${c.toLowerCase()}`), what,
    fix: flag !== undefined ? didYouMean(flag, flags) : name !== undefined ? didYouMean(name, command.commands.map(c => c.name())) : `see npx ${pathOf(command)} --help`,
  })
}

/** A failure as the user should read it. What is no error of ours is a fault of ours, but for a machine that is full. */
function explain(e: unknown): MeshworkError {
  if (e instanceof MeshworkError) return e
  const text = e instanceof Error ? e.message : String(e)
  if (e instanceof RangeError && /allocation failed|Invalid typed array length|Array buffer/i.test(text)) {
    return new MeshworkError({ code: 'out-of-memory', what: `the memory does not suffice: ${text}`, fix: 'use a smaller model or batch', cause: e })
  }
  const [what = '', ...more] = text.split('\n')
  return new MeshworkError({
    code: 'internal', what: what === '' ? 'something failed without a word' : what, ...more.length === 0 ? {} : { details: { more: more.join(' ').slice(0, 400) } },
    fix: 'this is a fault of Meshwork: please report it, with what --debug prints', cause: e,
  })
}

/** Where an error was made, and those that caused it. The error's own text has been printed. */
function traceOf(e: Error): string {
  const stack = e.stack ?? ''
  const cause = e.cause instanceof Error ? `\ncaused by ${e.cause.message}\n${traceOf(e.cause)}` : e.cause === undefined ? '' : `\ncaused by ${String(e.cause)}`
  return `${stack.slice(stack.search(/^ {4}at /m))}${cause}`
}

/** Runs a command line. Resolves to the exit code; nothing is thrown. */
export async function main(args: readonly string[]): Promise<number> {
  watchPipes()
  const given = args.filter(a => a !== '--debug')
  const root = await program(given)
  const fail = async (e: MeshworkError): Promise<number> => {
    if (e instanceof FailedElsewhere || !await speaks(e.exitCode)) return e.exitCode
    process.stderr.write(`${heading()}${e.message}\n`)
    if (given.length < args.length) process.stderr.write(`${traceOf(e)}\n`)
    currentJob().abort(e.exitCode)
    return e.exitCode
  }
  try {
    await root.parseAsync(given, { from: 'user' })
    await currentJob().end()
    return Number(process.exitCode ?? 0)
  } catch (e) {
    if (e instanceof Stopped) return e.exitCode
    if (!(e instanceof CommanderError)) return fail(explain(e))
    // A command that only groups others has printed its help by now.
    if (e.exitCode === 0 || e.code === 'commander.help') return e.exitCode === 0 ? 0 : 2
    return fail(usageError(e, commandOf(root, given)))
  }
}
