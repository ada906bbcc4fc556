/** Which tokens may come: a machine over bytes, walked along the tree of all tokens. */
import { atMost, type Limits, type Machine } from './machine.ts'
import { States, type State } from './states.ts'
import type { Vocabulary } from './vocabulary.ts'

/** A place in an answer. It never changes: what follows has places of its own. */
export interface GrammarPlace {
  /** Bit i % 32 of word i / 32 is 1 where token i may come next. */
  readonly mask: Uint32Array
  /** Whether the answer may end here. */
  readonly mayEnd: boolean
  /** The place behind a token; undefined where it may not come. */
  after(token: number): GrammarPlace | undefined
}
export interface Grammar { start(): GrammarPlace }

/** Masks that are kept. */
const mostMasks = 1024
/** Bytes that are tried before anything is answered. */
const probed = 100

export function grammarOf(machine: Machine, vocabulary: Vocabulary, limits: Limits = atMost): Grammar {
  const states = new States(machine, limits)
  states.probe(probed)
  const masks = new Map<State, Uint32Array>()
  /** Of states, and bytes, for how many more of them the same may come; −1 where nobody has asked. */
  const loops = new WeakMap<State, Float64Array>()
  const maskOf = (state: State): Uint32Array => {
    let mask = masks.get(state)
    if (mask === undefined) {
      mask = walk(states, state, vocabulary, loops)
      if (masks.size >= mostMasks) masks.delete(masks.keys().next().value as State)
    } else masks.delete(state)
    // The one that was used last is dropped last.
    masks.set(state, mask)
    return mask
  }
  const placeAt = (state: State): GrammarPlace => ({
    get mask() { return maskOf(state) },
    mayEnd: state.mayEnd,
    after(token) {
      const text = vocabulary.texts[token]
      if (text === undefined || text.length === 0) return undefined
      let at: State | null = state
      states.begin()
      for (const byte of text) {
        at = states.step(at, byte)
        if (at === null) return undefined
      }
      return placeAt(at)
    },
  })
  return { start: () => placeAt(states.start) }
}

function walk(states: States, start: State, { size, ids, bytes, behind, firstId, endId, own, below, height }: Vocabulary, loops: WeakMap<State, Float64Array>): Uint32Array {
  states.begin()
  const mask = new Uint32Array(Math.ceil(size / 32))
  const allow = (from: number, to: number): void => { for (let i = from; i < to; i++) { const id = ids[i] as number; mask[id >>> 5] = (mask[id >>> 5] as number) | 1 << (id & 31) } }
  /** For how many bytes the same may come behind a byte as before it, as within a text. */
  const reachOf = (state: State, reaches: Float64Array, byte: number): number => {
    const next = states.step(state, byte)
    return reaches[byte] = next === null ? 0 : states.alike(state, next)
  }
  const staysWithin = (node: number, state: State): boolean => {
    let reaches = loops.get(state)
    if (reaches === undefined) loops.set(state, reaches = new Float64Array(256).fill(-1))
    const far = height[node] as number
    for (let i = 0; i < 8; i++) {
      for (let bits = below[node * 8 + i] as number; bits !== 0; bits &= bits - 1) {
        const byte = i * 32 + 31 - Math.clz32(bits & -bits)
        const known = reaches[byte] as number
        if ((known < 0 ? reachOf(state, reaches, byte) : known) < far) return false
      }
    }
    return true
  }
  const stack: State[] = []
  const ends: number[] = []
  let state = start
  for (let node = 0; node < bytes.length;) {
    while (ends.length > 0 && node >= (ends.at(-1) as number)) {
      ends.pop()
      state = stack.pop() as State
    }
    const next = states.step(state, bytes[node] as number)
    if (next === null) {
      node = behind[node] as number
      continue
    }
    const [from, end] = [firstId[node] as number, endId[node] as number]
    // Nothing below leads to where something else may come: all of it may.
    if ((behind[node] as number) - node > 4 && staysWithin(node, next)) {
      allow(from, end)
      node = behind[node] as number
      continue
    }
    allow(from, from + (own[node] as number))
    if ((behind[node] as number) > node + 1) {
      stack.push(state)
      ends.push(behind[node] as number)
      state = next
    }
    node++
  }
  return mask
}
