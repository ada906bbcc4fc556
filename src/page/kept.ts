/** What is kept in the browser. Some keep nothing, and say so by failing: then it is as if there were nothing. */

type Store = 'localStorage' | 'sessionStorage'

export function kept(store: Store, name: string): string | null {
  try { return window[store].getItem(name) } catch { return null }
}
/** @returns whether there was room */
export function keep(store: Store, name: string, value: string): boolean {
  try {
    window[store].setItem(name, value)
    return true
  } catch { return false }
}
