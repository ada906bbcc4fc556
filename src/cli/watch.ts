/** `meshwork watch`: a page on which runs are looked at, those that train and those that are over. */
import { Command } from 'commander'
import { openDashboard } from '../dashboard/index.ts'
import { interrupts } from './interrupt.ts'
import { openOutput, silent } from './output.ts'
import { wholeNumber } from './overrides.ts'
import { pageAddress, tokenOf } from './page-flags.ts'
import { PlanThread } from './plan-thread.ts'

interface Flags { readonly host: string; readonly port: string; readonly token?: string; readonly json?: boolean }

export const watchCommand = (): Command => new Command('watch')
  .description('Serve a page of runs: losses, held-out losses, rates, plans; those that train are followed, and can be stopped or saved.')
  .argument('[runs]', 'the folder that runs lie in, or one run\'s', 'runs')
  .option('--host <address>', 'what is listened on; beyond this machine it wants --token', '127.0.0.1')
  .option('--port <n>', 'the port; any that is free unless given', '0')
  .option('--token <text>', 'what everybody who looks has to give; MESHWORK_PAGE_TOKEN shows it in no list of processes')
  .option('--json', 'print the address as a line of JSON')
  .addHelpText('after', `
Examples:
  $ npx meshwork watch
  $ npx meshwork watch runs/gpt-tiny-0 --port 8080
  $ MESHWORK_PAGE_TOKEN="$(openssl rand -hex 16)" npx meshwork watch runs --host 0.0.0.0

Ctrl-C ends it; runs go on. \`meshwork train --page\` serves the same page beside its run.`)
  .action(async (runs: string, flags: Flags) => {
    const [port, token, json] = [wholeNumber(flags.port, '--port', 0, 65535), tokenOf(flags.token, process.env), flags.json === true]
    const output = json ? silent : openOutput()
    const stops = interrupts({ ends: true })
    try {
      const page = await openDashboard({ runs, host: flags.host, port, token, planner: new PlanThread(), log: problem => { output.note(`the page failed: ${problem}`) } })
      stops.finish()
      if (json) process.stdout.write(`${JSON.stringify({ type: 'page', url: page.url })}\n`)
      output.print(`page           ${pageAddress(page.url, token)}`)
      await new Promise<void>(resolve => { if (stops.signal.aborted) resolve(); else stops.signal.addEventListener('abort', () => { resolve() }, { once: true }) })
      await page.close()
      process.exitCode = stops.code
    } finally {
      output.clear()
      stops.release()
    }
  })
