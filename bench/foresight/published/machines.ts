/** What published steps ran on: machines that come along, or the A100 under Megatron that vTrain's rows have calibrated; none knows the steps that are predicted. */
import { knownMachine } from '../../../src/machine/read.ts'
import type { Machine } from '../../../src/machine/machine.ts'
import { a100 } from '../a100.ts'
import type { GptRow } from '../planned-gpt.ts'
import { fittedConstants } from '../vtrain/constants.ts'

const [GB, TFLOP] = [1e9, 1e12]

/**
 * What attention as one kernel reaches, there and back. FlashAttention 2 reaches 225 TFLOP/s on an A100 and 335 on an H100, twice what kernels before it did (Dao 2023, arXiv 2307.08691), which is what MPT's runs had;
 * what TPUs' reach is assumed to be half of the peak.
 */
const attention: { readonly [machine: string]: number } = { '8xa100': 225 / 2 * TFLOP, '8xa100-40': 225 / 2 * TFLOP, '8xh100': 335 / 2 * TFLOP, v5p: 459 / 2 * TFLOP }

const between = (machine: Machine, adapters: number, each: number): Machine =>
  ({ ...machine, links: { ...machine.links, between: machine.links.between === null ? null : { ...machine.links.between, perFlow: each, perHost: adapters * each } } })

/** One whose host waits for each kernel before it launches the next. */
const blocking = (machine: Machine): Machine => {
  const { kernelUs, launchUs } = machine.overhead
  return { ...machine, overhead: { ...machine.overhead, kernelUs: kernelUs + launchUs, launchUs: 0 } }
}

/** Megatron's own runs had eight adapters of 200 Gb/s a host, BigScience's four of 100, and `CUDA_LAUNCH_BLOCKING=1`, without which theirs hung. */
const calibrated: { readonly [machine: string]: () => Machine } = {
  megatron: () => between(a100(fittedConstants), 8, 25 * GB), bigscience: () => blocking(between(a100(fittedConstants), 4, 12.5 * GB)),
}

/** The machine of a row: on accelerators a softmax is one kernel; slices of a TPU's pod are joined by the network of hosts. */
export function machineOfRow(name: string, { data, tensor, stages, slices = 1 }: GptRow): Machine {
  const own = calibrated[name]
  if (own !== undefined) return own()
  const machine = knownMachine(name)
  const rate = attention[name]
  return {
    ...machine, fusion: 'rows', ...(slices > 1 ? { domain: data * tensor * stages / slices } : {}),
    ...(rate === undefined ? {} : { vector: { ...machine.vector, costs: { ...machine.vector.costs, attention: machine.vector.rate / rate, attentionBack: machine.vector.rate / rate } } }),
  }
}

/** How much longer a step takes on two slices than on one: 2.6 %, the median of the six models that the same notes of MaxText's have of both on TPU v4 and v5e (configs/v4 and v5e/README.md of 76bd53b); of any number of slices, as there are no more than two here. */
export const waitsFor = ({ slices = 1 }: Pick<GptRow, 'slices'>): number => (slices > 1 ? 1.026 : 1)
