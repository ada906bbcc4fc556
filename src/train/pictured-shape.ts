/** What a plan tells the page and its pictures: plain data, of one device unless it says otherwise, whose types a browser's code may take. */

/** The way forward, the way back, the update. */
export type Phase = 'forward' | 'backward' | 'update'

type CollectiveKind = 'all-reduce' | 'all-gather' | 'reduce-scatter' | 'all-to-all' | 'permute'

/** As `meshwork plan --json` prints it. */
export interface PlanShown {
  readonly devices: number
  readonly mesh: { readonly [axis: string]: number }
  readonly perDevice: { readonly parameterBytes: number; readonly stateBytes: number; readonly activationBytes: number; readonly peakBytes: number; readonly flops: number }
  readonly collectives: readonly { readonly kind: CollectiveKind; readonly axes: readonly string[]; readonly dtype: string; readonly bytes: number; readonly count: number; readonly at: string | null }[]
  readonly pipeline: { readonly schedule: string; readonly stages: number; readonly microbatches: number; readonly idle: number } | null
}

interface Sizes { readonly [dim: string]: number }

/** Why a dim of a tensor is split: the axes, and the layout whose rule says so. */
export interface RuleShown { readonly dim: string; readonly axes: readonly string[]; readonly layout: string }

/** A tensor that a step is given, and how it lies. */
export interface TensorShown {
  readonly path: string
  readonly dtype: string
  readonly dims: Sizes
  /** Dim → the axes that it is split over; what is not named is whole on every device. */
  readonly layout: { readonly [dim: string]: readonly string[] }
  readonly bytes: number
  readonly of: 'parameters' | 'state' | 'batch'
  /** The layout that it lies in. */
  readonly in: string
  /** Those that split it; what they leave whole is whole on every device. */
  readonly rules: readonly RuleShown[]
}

/** A layout by its name: what it starts from, the rules that it says itself, and all that hold in it. */
export interface LayoutShown {
  readonly name: string
  readonly from: string | null
  readonly own: { readonly [dim: string]: readonly string[] }
  readonly rules: { readonly [dim: string]: readonly string[] }
}

/** An op that does something: what only changes how a value is seen, and constants, are left out. */
export interface OpShown {
  readonly op: string
  /** Of the result, as one device holds it. */
  readonly type: string
  readonly bytes: number
  /** Floating-point operations each time, of products and convolutions. */
  readonly flops: number
  /** Tensors of the step's arguments that it reads, also in another dtype or gathered. */
  readonly reads: readonly string[]
}

interface Placed {
  /** Numbered from 0 in the order of the program, at any depth. */
  readonly id: number
  readonly phase: Phase
  /** The user's line, as file:line:column. */
  readonly at: string | null
}

/** Ops one after another that come from one line, or that make one tensor of the update. */
export interface OpsShown extends Placed {
  readonly kind: 'ops'
  readonly title: string
  readonly ops: readonly OpShown[]
  /** Floating-point operations of a step: each op times its turns. */
  readonly flops: number
}
export interface CollectiveShown extends Placed {
  readonly kind: 'collective'
  readonly collective: CollectiveKind
  readonly text: string
  readonly axes: readonly string[]
  readonly dtype: string
  /** That enter it, each time. */
  readonly bytes: number
  /** Times a step, as the plan counts. */
  readonly count: number
  /** Tensors that it moves: parameters, or those whose gradients they are. */
  readonly tensors: readonly string[]
  /** Predicted milliseconds, each time, where a machine is known. */
  readonly ms?: number
}
export interface LoopShown extends Placed {
  readonly kind: 'loop'
  readonly over: string
  /** Turns each time it runs; of a loop whose end is computed those that are known beforehand, null where none are. */
  readonly turns: number | null
  readonly items: readonly ItemShown[]
}
export interface ChoiceShown extends Placed {
  readonly kind: 'choice'
  readonly branches: readonly { readonly name: string; readonly items: readonly ItemShown[]; /** Whether the plan counts this one's collectives. */ readonly counted: boolean }[]
}
export type ItemShown = OpsShown | CollectiveShown | LoopShown | ChoiceShown

export interface ProgramShown {
  readonly forward: readonly ItemShown[]
  readonly backward: readonly ItemShown[]
  readonly update: readonly ItemShown[]
}

/** A value in memory, from one moment to another, both included. */
export interface SpanShown {
  readonly from: number
  readonly to: number
  readonly bytes: number
  /** By the number of what made it, in `makers`. */
  readonly maker: number
}
export interface MakerShown { readonly op: string; readonly type: string; readonly phase: Phase; readonly at: string | null }

export interface MemoryShown {
  /** What lies there all the time: bytes of parameters, of what else a step takes over, of the batch and the results. */
  readonly parameters: number
  readonly state: number
  readonly rest: number
  /** Bytes of the heap for everything between, gaps included: the plan's activations. */
  readonly heap: number
  /** The phase of what runs at each moment: a loop's body has its moments once. */
  readonly moments: readonly Phase[]
  readonly spans: readonly SpanShown[]
  readonly makers: readonly MakerShown[]
}

/** A value that lies in memory at its peak. */
export interface LargestShown { readonly op: string; readonly dtype: string; readonly dims: Sizes; readonly bytes: number; readonly at: string | null }

/** A share of a step's time: kernels of one kind that are alike and from one line, all together. */
export interface PartShown {
  readonly kind: 'product' | 'memory' | 'collective' | 'turn'
  readonly what: string
  readonly at: string | null
  readonly times: number
  /** Of all of them, and how much of it goes on beside computation. */
  readonly ms: number
  readonly besideMs: number
}

/** Microbatches by their stages at one tick of a pipeline, null where one has nothing to do. */
export interface TurnShown { readonly forward: readonly (number | null)[]; readonly backward: readonly (number | null)[] }

/** How long a step would take on a machine. */
export interface PredictedShown {
  readonly machine: string
  /** What the command line's `--machine` calls it. */
  readonly named: string
  readonly stepMs: number
  /** Turns of loops, and what the host does. */
  readonly overheadMs: number
  /** What a device has for a program, and whether this one fits. */
  readonly memoryBytes: number
  readonly fits: boolean
  /** Of the specified peak, by the model's operations; null where the machine does not say what that is. */
  readonly utilisation: number | null
  /** As the program first comes to them. */
  readonly parts: readonly PartShown[]
  /** Of a pipeline. */
  readonly turns: readonly TurnShown[] | null
}

export interface PagePlan {
  readonly name: string
  /** The run's fields, as its folder has them. */
  readonly run: { readonly [field: string]: unknown }
  readonly plan: PlanShown
  /** Of the whole model. */
  readonly parameters: number
  /** Operations of a step over the whole batch, if each were done once. */
  readonly flops: number
  /** What a layout may speak of. */
  readonly dims: Sizes
  readonly layouts: readonly LayoutShown[]
  readonly tensors: readonly TensorShown[]
  /** What the activations are at their peak, the largest first. */
  readonly largest: readonly LargestShown[]
  readonly program: ProgramShown
  readonly memory: MemoryShown
  /** Where it was asked for a machine. */
  readonly predicted?: PredictedShown
  /** Why the machine that was asked for says nothing of it. */
  readonly unpredicted?: string
  /** The text of lines that the program names, by file:line. */
  readonly lines: { readonly [at: string]: string }
}
