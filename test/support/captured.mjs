// What a process prints, kept in place of printed, until it is restored. Plain JavaScript, for processes that load no TypeScript.

/** What has come so far by stream, and what lets it go its own way again. */
export function captured() {
  const printed = { out: '', err: '' }
  const kept = [[process.stdout, 'out'], [process.stderr, 'err']].map(([stream, key]) => {
    const { write } = stream
    stream.write = (chunk, ...rest) => {
      printed[key] += chunk.toString()
      rest.find(r => typeof r === 'function')?.()
      return true
    }
    return () => { stream.write = write }
  })
  return { printed, restore: () => { for (const restore of kept) restore() } }
}
