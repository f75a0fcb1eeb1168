import { highestOf } from '../protocol/extremes.ts';
import { sumCounters } from '../runtime/counters.ts';
import type { HostState } from './session-host.ts';

/** What all session hosts hold and have counted, together. */
export function sumStates(states: readonly HostState[]): Omit<HostState, 'figures'> {
  const sum = (read: (state: HostState) => number): number => states.reduce((total, state) => total + read(state), 0);
  const partitions = highestOf(states.map(({ requestsInFlight }) => requestsInFlight.length));
  return {
    sessions: sum(({ sessions }) => sessions),
    leases: sum(({ leases }) => leases),
    registrations: sum(({ registrations }) => registrations),
    counters: sumCounters(states.map(({ counters }) => counters)),
    requestsWaiting: sum(({ requestsWaiting }) => requestsWaiting),
    slotShutMaxMs: highestOf(states.map(({ slotShutMaxMs }) => slotShutMaxMs)),
    requestsInFlight: Array.from({ length: partitions }, (_, partition) =>
      sum(({ requestsInFlight }) => requestsInFlight[partition] ?? 0),
    ),
  };
}
