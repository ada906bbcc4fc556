/** The door of the page that shows training. */
export { openDashboard, type Dashboard, type DashboardOptions } from './server.ts'
export type { Planner, PlanFault, PlanFound, PlanWork } from './planner.ts'
