/** A conversation: lanes of messages, one for each model that answers, in which nothing is lost by editing or by answering again. */

/** A token that might have stood at a place, and the logarithm of its probability. */
export interface Likely { readonly token: string; readonly logprob: number }
export interface Token extends Likely { readonly top: readonly Likely[] }
/** Text that came at once, and the tokens that made it; at an answer's end they may have made none. */
export interface Piece { readonly text: string; readonly tokens: readonly Token[] }

/** `writing` is under way; `stopped` was stopped here, and `failed` elsewhere; the others are the server's words. */
export type Ending = 'writing' | 'stopped' | 'failed' | 'stop' | 'length'
/** How an answer came to be. Times are in seconds. */
export interface About {
  readonly model: string
  readonly ending: Ending
  readonly seed: number
  readonly error?: string
  /** The step of training whose weights wrote it. */
  readonly step?: number
  readonly promptTokens?: number
  readonly cachedTokens?: number
  readonly tokens: number
  /** From the request to the first token, and to the last. */
  readonly first?: number
  readonly all?: number
}

/** Messages know what they follow (-1: nothing), and which of those that follow them is shown (-1: none). */
export interface Message {
  readonly role: 'user' | 'assistant'
  readonly text: string
  readonly parent: number
  readonly shown: number
  /** Of answers, where it is known which tokens they are made of. */
  readonly pieces?: readonly Piece[]
  readonly about?: About
}

/** Messages in the order in which they came: a tree, of which one way down is shown. */
export interface Lane { readonly model: string; readonly messages: readonly Message[]; readonly shown: number }

export interface Settings {
  readonly temperature: number
  readonly topP: number
  /** Tokens of an answer; null for until its end. */
  readonly maxTokens: number | null
  /** Null for another one each time. */
  readonly seed: number | null
  /** Whether the likeliest tokens of each place are asked for. */
  readonly probabilities: boolean
}
export interface Conversation { readonly system: string; readonly settings: Settings; readonly lanes: readonly Lane[] }

export const usual: Settings = { temperature: 0.7, topP: 1, maxTokens: 512, seed: null, probabilities: true }
export const emptyLane = (model: string): Lane => ({ model, messages: [], shown: -1 })
export const emptyConversation = (model: string): Conversation => ({ system: '', settings: usual, lanes: [emptyLane(model)] })

/** The messages that are shown, from the first on, as places in `messages`. */
export function pathOf({ messages, shown }: Lane): number[] {
  const path: number[] = []
  for (let at = shown; at >= 0; at = messages[at]?.shown ?? -1) path.push(at)
  return path
}

/** The messages before one, and itself. */
export function pathTo({ messages }: Lane, to: number): number[] {
  const path: number[] = []
  for (let at = to; at >= 0; at = messages[at]?.parent ?? -1) path.unshift(at)
  return path
}

/** Those that stand in the same place, a message and what it was edited to or answered again. */
export const siblingsOf = ({ messages }: Lane, at: number): number[] => messages.flatMap((m, i) => (m.parent === messages[at]?.parent ? [i] : []))

const changed = (messages: readonly Message[], at: number, change: Partial<Message>): Message[] => messages.map((m, i) => (i === at ? { ...m, ...change } : m))

/** Shows a message, and those before it. */
export function showing(lane: Lane, at: number): Lane {
  let { messages, shown } = lane
  for (let child = at; child >= 0;) {
    const parent = messages[child]?.parent ?? -1
    if (parent < 0) shown = child
    else messages = changed(messages, parent, { shown: child })
    child = parent
  }
  return { ...lane, messages, shown }
}

/** A message more, which is shown. @returns the lane, and where it stands */
export function adding(lane: Lane, message: Omit<Message, 'shown'>): readonly [Lane, number] {
  const at = lane.messages.length
  return [showing({ ...lane, messages: [...lane.messages, { ...message, shown: -1 }] }, at), at]
}
export const changing = (lane: Lane, at: number, change: Partial<Message>): Lane => ({ ...lane, messages: changed(lane.messages, at, change) })

/** A new lane that begins with what another shows. */
export function copyOf(lane: Lane, model: string): Lane {
  const path = pathOf(lane)
  return { model, shown: path.length > 0 ? 0 : -1, messages: path.map((at, i) => ({ ...lane.messages[at] as Message, parent: i - 1, shown: i + 1 < path.length ? i + 1 : -1 })) }
}

/** With nothing under way: what was being written ends where it is. */
export const settled = (conversation: Conversation): Conversation => ({
  ...conversation, lanes: conversation.lanes.map(lane => ({ ...lane, messages: lane.messages.map(m => (m.about?.ending === 'writing' ? { ...m, about: { ...m.about, ending: 'stopped' } } : m)) })),
})

/** A prompt, and its answer where there is one: what stands side by side in the lanes. */
export interface Turn { readonly user: number; readonly answer: number | undefined }
export function turnsOf(lane: Lane): Turn[] {
  const path = pathOf(lane)
  return path.flatMap((at, i) => (i % 2 === 0 ? [{ user: at, answer: path[i + 1] }] : []))
}
