import type { CampaignResult } from './campaign.ts';

/** What a run did, in lines for people. */
export function formatReport({ tally, checks }: CampaignResult): string[] {
  const { counters } = tally;
  const of = (name: string): number => counters[name] ?? 0;
  return [
    `operations: ${formatCounts(tally.operations)}`,
    `faults: ${formatCounts(tally.faults)}`,
    `lives of the registry: ${tally.lives}, the longest time between two ${tally.downMaxMs} ms; partitions that died: ${of('partition_died')}; steps of moves taken back: ${tally.stepsRolledBack}`,
    `sessions: ${of('session_broken')} broke; ${tally.sessionsCompared} were taken over and compared, of which ${tally.hostChanges} were on another thread then`,
    `lists of before a restart: ${tally.waits} went on, ${tally.renewals} of them renewed when it was warm`,
    `checks: ${tally.viewsJudged} views judged as they changed, ${checks} instances in them; ${tally.ghostSweeps} searches for what should have gone`,
    `in quiet, ${tally.barriers} times: ${tally.viewsCompared} views and ${tally.servicesCompared} services compared with what sessions and partitions hold, ${tally.claimsCompared} registrations with what their clients believe, ${tally.sharedInstances} instances of several sessions; the longest until all agreed ${tally.convergenceMaxMs} ms`,
    `pushes: ${tally.pushes}, of which ${tally.pushesEmpty} changed nothing; dropped for slow readers ${of('push_dropped')}, made up for ${of('push_resynced')}`,
    `the longest that a slot did not answer: ${tally.slotShutMaxMs} ms`,
  ];
}

function formatCounts(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}
