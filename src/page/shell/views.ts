/** The views that there are, in the order of their tabs. */
import type { View } from './view.ts'

export const views: readonly View[] = [
  { id: 'runs', title: 'Runs', load: async () => (await import('../runs/view.tsx')).RunsView },
  { id: 'training', title: 'Training', load: async () => (await import('../training/view.tsx')).TrainingView },
  { id: 'mesh', title: 'Mesh', load: async () => (await import('../mesh/view.tsx')).MeshView },
  { id: 'program', title: 'Program', load: async () => (await import('../program/view.tsx')).ProgramView },
  { id: 'what-if', title: 'What-if', load: async () => (await import('../what-if/view.tsx')).WhatIfView },
]
