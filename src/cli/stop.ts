/** `meshwork stop`, `meshwork checkpoint save`: what a run that trains is asked to do, by a word in its folder. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as after } from 'node:timers/promises'
import { Command } from 'commander'
import { FileError, UsageError } from '../core/errors.ts'
import { holderOf } from '../io/claim.ts'
import { readRunFile, readSummary } from '../train/folder.ts'
import { forget, wishFor, wishName, type Wish } from '../train/wish.ts'
import { openOutput } from './output.ts'

/** Milliseconds between looks whether it was heard, and those that a step may take. */
const [every, patience] = [100, 600_000]

/** Asks, and waits until the run has heard it. @throws FileError where there is no run, UsageError where it does not train */
export async function wish(folder: string, what: Wish): Promise<void> {
  if (await readRunFile(folder) === undefined) throw new FileError({ code: 'no-run', what: `${folder} holds no run: it has no run.json`, fix: 'give a folder that `npx meshwork train` writes' })
  const trains = async (): Promise<boolean> => { const holder = await holderOf(folder); return holder !== undefined && holder.alive !== false && await readSummary(folder) === undefined }
  if (!await trains()) throw new UsageError({ code: 'not-running', what: `the run in ${folder} does not train any more`, fix: 'the same command line as before goes on with it' })
  await wishFor(folder, what)
  for (const since = Date.now(); await stat(join(folder, wishName(what))).then(() => true, () => false);) {
    if (await trains() && Date.now() - since < patience) await after(every)
    else {
      await forget(folder)
      throw new UsageError({ code: 'not-running', what: `the run in ${folder} ended before it heard that`, fix: 'see how: npx meshwork watch' })
    }
  }
}

export const stopCommand = (): Command => new Command('stop')
  .description('Let a run that trains end behind its step, with a checkpoint, as Ctrl-C does; the same command line goes on with it.')
  .argument('<run>', 'a run\'s folder')
  .addHelpText('after', '\nExample:\n  $ npx meshwork stop runs/gpt-tiny-0\n\nThe run may be on another host that sees the folder.')
  .action(async (folder: string) => {
    await wish(folder, 'stop')
    openOutput().print(`the run in ${folder} ends behind its step`)
  })
