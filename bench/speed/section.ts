/**
 * As fast as the machine: training steps of six kinds of models beside PyTorch (eager and compiled) and JAX, in f32 and bf16, on one device and on meshes, each as a share of the
 * best matrix multiplication of the same run; one of a billion parameters on a card, where there is one; how time and memory grow; how long a start takes; what the host costs.
 */
import { jaxPython, torchPython } from '../../test/oracle/python.ts'
import type { Section } from '../measure.ts'
import { withWorkers } from '../process.ts'
import { onCard } from './card.ts'
import { configurations, isQuick, partWanted, wanted } from './configurations.ts'
import { growth } from './growth.ts'
import { onMeshes } from './meshes.ts'
import { ask, cells, isAvx2, startOurs, startTorch, type Part, type Say } from './sides.ts'
import { hostCost, starts } from './starts.ts'
import { steps, stepsHead } from './steps.ts'

/** The best product of square matrices, ours or PyTorch's: operations a second that these cores can be brought to. */
async function roofOf(torch: string, dtype: 'f32' | 'bf16', say: Say): Promise<{ readonly flops: number; readonly note: string }> {
  const sides = [await startOurs('ours'), startTorch('PyTorch', torch)]
  return withWorkers(sides, async () => {
    let [flops, note] = [0, '']
    for (const size of isQuick ? [256] : [512, 1024, 2048]) {
      for (const w of sides) {
        const found = 2 * size ** 3 / (await ask(w, { do: 'roof', size, dtype: dtype === 'f32' ? 'float32' : 'bfloat16' })).ms * 1000
        say(`${size} × ${size} by ${w.name}: ${(found / 1e9).toFixed(0)} GFlop/s in ${dtype}`)
        if (found > flops) [flops, note] = [found, `the roof: ${(found / 1e9).toFixed(0)} GFlop/s in ${dtype}, ${size} × ${size} by ${w.name}`]
      }
    }
    return { flops, note }
  })
}

/** The bars of a step: of `torch.compile`'s time, and of JAX's. */
const bars = { f32: { compiled: 0.75, jax: 0.6 }, bf16: { compiled: 1, jax: 1 } } as const

export async function speedSection(rounds: number, say: Say): Promise<Section> {
  const parts: Part[] = []
  if (partWanted('steps')) {
    const [torch, jax] = [await torchPython(say), await jaxPython(say)]
    const lines: string[] = []
    const names = Object.keys(configurations)
    for (const compute of ['f32', 'bf16'] as const) {
      if (!wanted(['f32', 'bf16'], compute)) continue
      const roof = await roofOf(torch, compute, say)
      parts.push({ notes: [roof.note], rows: [] })
      for (const [name, of] of Object.entries(configurations)) {
        if (!wanted(names, name)) continue
        const part = await steps(name, of, compute, { torch, jax, rounds, roof: roof.flops, bars: bars[compute], say })
        lines.push(part.line)
        parts.push(part)
      }
    }
    parts.push({ notes: [cells(stepsHead), cells(stepsHead.map(() => '---')), ...lines], rows: [] })
  }
  if (partWanted('meshes')) {
    const jax = await jaxPython(say)
    for (const [name, of] of Object.entries(configurations)) if (of.kind === 'gpt' && name !== 'b' && wanted(Object.keys(configurations), name)) parts.push(await onMeshes(name, of, jax, rounds, say))
  }
  if (partWanted('card')) parts.push(await onCard(rounds, say))
  if (partWanted('growth')) parts.push(await growth(say))
  if (partWanted('start')) parts.push(await starts(rounds, say))
  if (partWanted('host')) parts.push(await hostCost(rounds, say))
  return { name: 'speed', notes: [...isQuick ? ['small numbers: these figures say nothing'] : [], ...isAvx2 ? ['all sides held to AVX2'] : [], ...new Set(parts.flatMap(p => p.notes))], rows: parts.flatMap(p => p.rows) }
}
