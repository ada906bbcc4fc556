/** Collectives between devices of one process: StableHLO's own, devices being replicas. */
import { names } from '../../core/dim.ts'
import { replicaGroups, type Mesh } from '../../core/mesh.ts'
import { shapeOf } from '../../graph/node.ts'
import { betweenDevices, combiner } from '../extrema.ts'
import { typeOfNode } from '../writer.ts'
import type { CollectiveWriter } from './writer.ts'

const groupsText = (mesh: Mesh, axes: readonly string[]): string => {
  const groups = replicaGroups(mesh, axes)
  return `replica_groups = dense<${JSON.stringify(groups)}> : tensor<${groups.length}x${groups[0]?.length ?? 0}xi64>`
}

export const replicas: CollectiveWriter = {
  ordered: false,
  device: w => w.op('replica_id', [], { sizes: [], dtype: 'u32' }),
  allReduce: (n, x, w, mesh) =>
    betweenDevices(w, n.attrs.kind, x, v => w.op('all_reduce', [v], v, groupsText(mesh, n.attrs.axes), combiner(w, n.attrs.kind, v.dtype))),
  allGather: (n, x, w, mesh) =>
    w.op('all_gather', [x], typeOfNode(n), `all_gather_dim = ${names(shapeOf(n)).indexOf(n.attrs.dim)} : i64, ${groupsText(mesh, n.attrs.axes)}`),
  reduceScatter: (n, x, w, mesh) =>
    w.op('reduce_scatter', [x], typeOfNode(n), `${groupsText(mesh, n.attrs.axes)}, scatter_dimension = ${names(shapeOf(n)).indexOf(n.attrs.dim)} : i64`,
      combiner(w, 'sum', typeOfNode(n).dtype)),
  allToAll: (n, x, w, mesh) => {
    const at = (dim: string): number => names(shapeOf(n)).indexOf(dim)
    return w.op('all_to_all', [x], typeOfNode(n), `concat_dimension = ${at(n.attrs.from)} : i64, ${groupsText(mesh, n.attrs.axes)}, split_count = ${n.attrs.parts} : i64, split_dimension = ${at(n.attrs.to)} : i64`)
  },
  permute: (n, x, w, mesh) => {
    const pairs = replicaGroups(mesh, n.attrs.axes).flatMap(group => n.attrs.pairs.map(([source, target]) => [group[source], group[target]]))
    return w.op('collective_permute', [x], typeOfNode(n), `source_target_pairs = dense<${JSON.stringify(pairs)}> : tensor<${pairs.length}x2xi64>`)
  },
}
