/** The views that there are, in the order of their tabs. */
import type { View } from './view.ts'

export const views: readonly View[] = [
  { id: 'runs', title: 'Runs', load: async () => (await import('../runs/view.tsx')).RunsView },
  { id: 'training', title: 'Training', load: async () => (await import('../training/view.tsx')).TrainingView },
]
