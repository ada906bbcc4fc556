/** Where a machine may be after some bytes: a set of places, each with its stack, found once and known by its content. */
import { atMost, deepest, tooMany, type Limits, type Machine, type Node } from './machine.ts'

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

/** Ways to read what has come, at most. */
const mostPlaces = 2000
/** States that are known at most: then they are found anew. */
const mostStates = 10_000
const mostFrames = 200_000

export class States {
  readonly #machine: Machine
  readonly #limits: Limits
  #states = new Map<string, State>()
  #frames = new Map<string, Frame>()
  #serial = 0
  #work = 0
  readonly start: State

  constructor(machine: Machine, limits: Limits = atMost) {
    this.#machine = machine
    this.#limits = limits
    this.start = this.#state([{ node: machine.start, frame: undefined }])
  }

  /** What follows is for another mask: its work is counted anew. */
  begin(): void { this.#work = 0 }

  /** @throws UsageError where there are too many ways to read what has come; what the limits say where that takes too much */
  step(state: State, byte: number): State | null {
    const known = state.to[byte]
    if (known !== undefined) return known
    const next: Place[] = []
    this.#work += state.places.length
    for (const { node, frame } of state.places) {
      const at = this.#machine.nodes[node] as Extract<Node, { readonly kind: 'byte' }>
      if (at.accepts[byte] === 1) next.push({ node: at.next, frame })
    }
    const found = next.length === 0 ? null : this.#state(next)
    const alive = found !== null && (found.mayEnd || found.places.length > 0) ? found : null
    state.to[byte] = alive
    return alive
  }

  /**
   * For how many bytes two states let the same come, at least: those that are in the same places, and differ by turns of which neither the least number nor the most is near.
   * Infinite where they are one.
   */
  alike(a: State, b: State): number {
    if (a === b) return Infinity
    if (a.places.length !== b.places.length) return 0
    let least = Infinity
    for (let i = 0; i < a.places.length && least > 0; i++) {
      const [p, q] = [a.places[i] as Place, b.places[i] as Place]
      least = p.node === q.node ? Math.min(least, this.#framesAlike(p.frame, q.frame)) : 0
    }
    return least
  }

  #framesAlike(f: Frame | undefined, g: Frame | undefined): number {
    let least = Infinity
    for (; f !== g; f = f.parent, g = g.parent) {
      if (f === undefined || g === undefined || f.node !== g.node) return 0
      if (f.turn === g.turn) continue
      const count = this.#machine.nodes[f.node]
      if (count?.kind !== 'count') return 0
      const [earlier, later] = [Math.min(f.turn, g.turn), Math.max(f.turn, g.turn)]
      // A turn takes a byte at least; the one that is open is not counted yet.
      least = Math.min(least, count.max - later - 2, earlier + 1 >= count.min ? Infinity : count.min - later - 2)
      if (least <= 0) return 0
    }
    return least
  }

  /** Follows what is open in the most ways, so that what would be refused further on is refused now. @throws UsageError as `step` */
  probe(steps: number): void {
    for (let i = 0, state: State | undefined = this.start; i < steps && state !== undefined; i++) {
      // Where little may be done, all of it together is little.
      if (this.#limits === atMost) this.begin()
      const bytes = new Set<number>()
      for (const { node } of state.places) {
        bytes.add((this.#machine.nodes[node] as Extract<Node, { readonly kind: 'byte' }>).accepts.indexOf(1))
        if (bytes.size >= 16) break
      }
      let most: State | undefined
      for (const byte of bytes) {
        const next = byte < 0 ? null : this.step(state, byte)
        if (next !== null && next.places.length > (most?.places.length ?? 0)) most = next
      }
      state = most
    }
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
    const { nodes, entries, needs } = this.#machine
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
      // Nothing is begun that has no end, or none that the stack has room for.
      if ((frame?.depth ?? 0) + (needs[node] as number) > deepest) continue
      const key = `${node},${frame?.id ?? -1}`
      if (seen.has(key)) continue
      seen.add(key)
      if (seen.size > 8 * mostPlaces) throw tooMany()
      const at = nodes[node] as Node
      if (at.kind === 'byte') found.push(place)
      else if (at.kind === 'split') for (const to of at.to) go(to, frame)
      // What comes last in a rule returns to where that would: a list of a thousand members is no deeper than one.
      else if (at.kind === 'call') { if (nodes[at.next]?.kind === 'return') go(entries[at.rule] as number, frame); else go(entries[at.rule] as number, this.#frame(at.next, -1, frame)) }
      else if (at.kind === 'count') turns(at, node, 0, frame)
      else if (at.kind === 'again') { if (frame !== undefined) turns(nodes[frame.node] as Extract<Node, { readonly kind: 'count' }>, frame.node, frame.turn + 1, frame.parent) }
      else if (frame === undefined) mayEnd = true
      else go(frame.node, frame.parent)
    }
    this.#work += seen.size
    if (found.length > mostPlaces) throw tooMany()
    if (this.#work > this.#limits.work) throw this.#limits.beyond('work')
    const key = `${mayEnd ? 1 : 0};${found.map(p => `${p.node},${p.frame?.id ?? -1}`).sort().join(';')}`
    let state = this.#states.get(key)
    if (state === undefined) {
      if (this.#states.size >= mostStates) {
        // What leads from one to the next is forgotten, too: nothing else would let go of them.
        for (const old of this.#states.values()) old.to.length = 0
        this.#states = new Map()
      }
      state = { places: found, mayEnd, to: [] }
      this.#states.set(key, state)
    }
    return state
  }
}
