/** Where a machine may be after some bytes: a set of places, each with its stack, found once and known by its content. */
import { wrong } from './expr.ts'
import type { Machine, Node } from './machine.ts'

/** A return, or a turn that is counted. Equal ones are one object. */
interface Frame { readonly id: number; readonly node: number; readonly turn: number; readonly parent: Frame | undefined; readonly depth: number }
interface Place { readonly node: number; readonly frame: Frame | undefined }

export interface State {
  readonly places: readonly Place[]
  /** Whether nothing more has to come. */
  readonly mayEnd: boolean
  /** By byte; null where it may not come, undefined where nobody has asked. */
  readonly to: (State | null | undefined)[]
}

const deepest = 256
/** Ways to read what has come, at most. */
const mostPlaces = 2000
/** States that are known at most: then they are found anew. */
const mostStates = 50_000
const mostFrames = 500_000

export class States {
  readonly #machine: Machine
  #states = new Map<string, State>()
  #frames = new Map<string, Frame>()
  #serial = 0
  readonly start: State

  constructor(machine: Machine) {
    this.#machine = machine
    this.start = this.#state([{ node: machine.start, frame: undefined }])
  }

  /** @throws UsageError where there are too many ways to read what has come */
  step(state: State, byte: number): State | null {
    const known = state.to[byte]
    if (known !== undefined) return known
    const next: Place[] = []
    for (const { node, frame } of state.places) {
      const at = this.#machine.nodes[node] as Extract<Node, { readonly kind: 'byte' }>
      if (at.accepts[byte] === 1) next.push({ node: at.next, frame })
    }
    const found = next.length === 0 ? null : this.#state(next)
    const alive = found !== null && (found.mayEnd || found.places.length > 0) ? found : null
    state.to[byte] = alive
    return alive
  }

  #frame(node: number, turn: number, parent: Frame | undefined): Frame {
    const key = `${node},${turn},${parent?.id ?? -1}`
    let found = this.#frames.get(key)
    if (found === undefined) {
      if (this.#frames.size >= mostFrames) this.#frames = new Map()
      found = { id: this.#serial++, node, turn, parent, depth: (parent?.depth ?? 0) + 1 }
      this.#frames.set(key, found)
    }
    return found
  }

  /** Every place that takes a byte, reached without one. */
  #state(from: readonly Place[]): State {
    const { nodes, entries } = this.#machine
    const seen = new Set<string>()
    const found: Place[] = []
    let mayEnd = false
    const open = [...from]
    const go = (node: number, frame: Frame | undefined): void => { open.push({ node, frame }) }
    // A turn that has been counted: another one, or what follows.
    const turns = (count: Extract<Node, { readonly kind: 'count' }>, at: number, turn: number, parent: Frame | undefined): void => {
      if (turn < count.max) go(count.body, this.#frame(at, count.max === Infinity ? Math.min(turn, count.min) : turn, parent))
      if (turn >= count.min) go(count.next, parent)
    }
    for (let place = open.pop(); place !== undefined; place = open.pop()) {
      const { node, frame } = place
      const key = `${node},${frame?.id ?? -1}`
      if (seen.has(key)) continue
      seen.add(key)
      const at = nodes[node] as Node
      if (at.kind === 'byte') found.push(place)
      else if (at.kind === 'split') for (const to of at.to) go(to, frame)
      // What comes last in a rule returns to where that would: a list of a thousand members is no deeper than one.
      else if (at.kind === 'call') { if (nodes[at.next]?.kind === 'return') go(entries[at.rule] as number, frame); else if ((frame?.depth ?? 0) < deepest) go(entries[at.rule] as number, this.#frame(at.next, -1, frame)) }
      else if (at.kind === 'count') turns(at, node, 0, frame)
      else if (at.kind === 'again') { if (frame !== undefined) turns(nodes[frame.node] as Extract<Node, { readonly kind: 'count' }>, frame.node, frame.turn + 1, frame.parent) }
      else if (frame === undefined) mayEnd = true
      else go(frame.node, frame.parent)
    }
    if (found.length > mostPlaces) throw wrong('the constraint can be read in too many ways at once', 'say it so that what comes next tells where it belongs: repeats within repeats do not')
    const key = `${mayEnd ? 1 : 0};${found.map(p => `${p.node},${p.frame?.id ?? -1}`).sort().join(';')}`
    let state = this.#states.get(key)
    if (state === undefined) {
      if (this.#states.size >= mostStates) this.#states = new Map()
      state = { places: found, mayEnd, to: [] }
      this.#states.set(key, state)
    }
    return state
  }
}
