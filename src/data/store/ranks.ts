/** What preparing needs of the processes that do it together; those of `runtime/` fit. */

export interface Ranks {
  readonly rank: number
  readonly count: number
  /** Gives every process `bytes` and resolves to everybody's, by rank; `what` names it in messages. */
  exchange(bytes: Uint8Array | Promise<Uint8Array>, what: string): Promise<readonly Uint8Array[]>
}

export const oneRank: Ranks = { rank: 0, count: 1, exchange: async bytes => [await bytes] }

const none = new Uint8Array()

/** Rank 0's value, in every process; it is JSON, and made in rank 0 only. */
export async function fromRank0<T>(ranks: Ranks, what: string, value: () => Promise<T> | T): Promise<T> {
  if (ranks.count === 1) return value()
  const [first = none] = await ranks.exchange(ranks.rank === 0 ? Promise.resolve(value()).then(v => new TextEncoder().encode(JSON.stringify(v))) : none, what)
  return JSON.parse(new TextDecoder().decode(first)) as T
}

/** Resolves when all have come here. */
export const barrier = async (ranks: Ranks, what: string): Promise<void> => { if (ranks.count > 1) await ranks.exchange(none, what) }
