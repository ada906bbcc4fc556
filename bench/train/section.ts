/** The whole trainer beside the bare step that it runs, and beside a PyTorch loop with a DataLoader: what data, metrics, files and checkpoints cost. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheRoot } from '../../src/io/cache-root.ts'
import { torchPython } from '../../test/oracle/python.ts'
import { config } from '../gpt.ts'
import { interleave, ratio, row, timesOf, type Section } from '../measure.ts'
import { asCommand, asUsers, startTorchLoop, startTrainer, withWorkers } from '../process.ts'
import { optimizer } from '../task.ts'

/** Steps that are timed in a visit. */
const visit = 20

/** The tokens of the store that our side has made last. */
async function newestTokens(): Promise<string> {
  const folder = join(cacheRoot(), 'stores')
  const files = await Promise.all((await readdir(folder)).filter(n => !n.startsWith('.')).map(async n => {
    const path = join(folder, n, 'tokens.bin')
    return { path, at: await stat(path).then(s => s.atimeMs, () => 0) }
  }))
  return files.sort((a, b) => b.at - a.at)[0]?.path ?? ''
}

export async function trainSection(rounds: number, say: (line: string) => void): Promise<Section> {
  const python = await torchPython(say)
  const [ours, torch] = [startTrainer('trainer', asCommand), startTorchLoop('PyTorch', python, asUsers)]
  return withWorkers([ours, torch], async () => {
    say('starting the trainer')
    const { runtime } = await ours.say(JSON.stringify({ do: 'open', steps: 0 })) as { readonly runtime: string }
    say('starting PyTorch')
    const { runtime: peer } = await torch.say(JSON.stringify({ do: 'open', config, optimizer, batch: 8, tokens: await newestTokens() })) as { readonly runtime: string }
    const waits: number[] = []
    const ask = (what: string) => async (): Promise<number> => {
      const { ms, dataWait } = await ours.say(JSON.stringify({ do: what, steps: visit })) as { readonly ms: number; readonly dataWait?: number }
      if (what === 'train' && dataWait !== undefined) waits.push(dataWait)
      return ms
    }
    const found = await interleave(new Map([
      ['bare step', ask('bare')], ['train', ask('train')], ['train, a checkpoint every 10', ask('saving')],
      ['PyTorch and DataLoader', async () => (await torch.say(JSON.stringify({ do: 'loop', steps: visit })) as { readonly ms: number }).ms],
    ]), rounds, done => { say(`round ${done} of ${rounds}`) })
    return {
      name: 'train', notes: [runtime, peer, `${visit} steps a visit, one step under way`],
      rows: [
        ...timesOf(found),
        row('train / bare step', ratio(found, 'train', 'bare step'), '', 1 / 0.97),
        row('a checkpoint every 10 / none', ratio(found, 'train, a checkpoint every 10', 'train'), '', 1.05),
        row('train / PyTorch and DataLoader', ratio(found, 'train', 'PyTorch and DataLoader')),
        row('waiting for data, of the step time', 100 * Math.max(...waits), '%', 1),
      ],
    }
  })
}
