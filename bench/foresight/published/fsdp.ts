/**
 * What PyTorch's FSDP does beside what is planned of a step. The weights of a layer are one unit, gathered and reduced as one. Of every unit's gradients, each time that it has some: those of its weights are put together as one (the
 * gradient of the split that made views of them), made f32 where they are reduced so, and divided by about the root of the number of devices (torch/distributed/fsdp/_runtime_utils.py of 2.1, `_post_backward_hook` and `_reduce_grad`).
 */
import type { Task } from '../../../src/cost/work.ts'

/** What gradients are reduced in: Composer's `PURE` has bf16, its `DEFAULT` f32 (trainer/mosaic_fsdp_utils.py of 0.16.4). */
export type Reduced = 'bf16' | 'f32'
type Often = Task & { readonly times: number; readonly updates?: true }

/** Bytes of a number that are read and written: by the cat, the cast and the division. */
const copied: { readonly [R in Reduced]: readonly number[] } = { bf16: [4, 4], f32: [4, 6, 8] }
type Collective = Extract<Often, { readonly kind: 'collective' }>
const kernels = (t: Often, of: readonly number[], numbers: number): readonly Often[] => of.map((each): Often => ({ kind: 'memory', times: t.times, bytes: each * numbers, operations: [], ...(t.updates === true ? { updates: true } : {}) }))

/** A layer's weights are one: gathered at once there and back, and their gradients reduced at once. */
function asUnits(tasks: readonly Often[], layers: number, microbatches: number): readonly Often[] {
  const ofUnits = (t: Often): t is Collective => t.kind === 'collective' && t.axes.join() === 'data' && t.times >= layers * microbatches && t.times % layers === 0
  const found = tasks.filter(ofUnits)
  const [first] = found
  const one = (kinds: readonly Collective['collective'][], times: number): readonly Often[] => {
    const bytes = found.reduce((sum, t) => sum + (kinds.includes(t.collective) ? t.times * t.bytes : 0), 0) / times
    return first === undefined || bytes === 0 ? [] : [{ ...first, collective: kinds[0] ?? 'all-gather', times, bytes, waited: false }]
  }
  return [...tasks.filter(t => !ofUnits(t)), ...one(['all-gather'], 2 * layers * microbatches), ...one(['reduce-scatter', 'all-reduce'], layers * microbatches)]
}

/** Of tasks that are planned in f32: weights gathered in bf16, gradients as they are reduced, and what is copied for that. `others`: what becomes of all else. */
export function asFsdp<T extends Often>(reduced: Reduced, tasks: readonly T[], { layers, microbatches }: { readonly layers: number; readonly microbatches: number }, others: (t: T) => T): readonly T[] {
  return (asUnits(tasks, layers, microbatches) as readonly T[]).flatMap((t): readonly T[] => {
    // Not one number of all, as of a norm.
    if (t.kind === 'collective' && (t.collective === 'reduce-scatter' || t.collective === 'all-reduce') && t.bytes > 64) return [{ ...t, bytes: reduced === 'f32' ? t.bytes : t.bytes / 2 }, ...kernels(t, copied[reduced], t.bytes / 4) as readonly T[]]
    return [others(t)]
  })
}
