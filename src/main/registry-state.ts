import { highestOf } from '../protocol/extremes.ts';
import type { GuardState, UnitState } from './host-unit.ts';

/** What all session hosts hold and have counted, together. */
export function sumStates(states: readonly UnitState[]): Omit<UnitState, 'guard' | 'figures'> {
  const sum = (read: (state: UnitState) => number): number => states.reduce((total, state) => total + read(state), 0);
  const counters: Record<string, number> = {};
  for (const state of states) {
    for (const [name, count] of Object.entries(state.counters)) counters[name] = (counters[name] ?? 0) + count;
  }
  const partitions = highestOf(states.map(({ requestsInFlight }) => requestsInFlight.length));
  return {
    sessions: sum(({ sessions }) => sessions),
    leases: sum(({ leases }) => leases),
    registrations: sum(({ registrations }) => registrations),
    counters: Object.fromEntries(Object.entries(counters).sort(([a], [b]) => (a < b ? -1 : 1))),
    requestsWaiting: sum(({ requestsWaiting }) => requestsWaiting),
    slotShutMaxMs: highestOf(states.map(({ slotShutMaxMs }) => slotShutMaxMs)),
    requestsInFlight: Array.from({ length: partitions }, (_, partition) =>
      sum(({ requestsInFlight }) => requestsInFlight[partition] ?? 0),
    ),
  };
}

/** What the guards of all session hosts hold back, together; the thresholds are those of the first. */
export function sumGuards(guards: readonly GuardState[]): GuardState {
  const sum = (read: (guard: GuardState) => number): number => guards.reduce((total, guard) => total + read(guard), 0);
  const holding = guards.map(({ holdingForMs }) => holdingForMs).filter((ms) => ms !== undefined);
  const services = new Map<string, GuardState['services'][number]>();
  for (const one of guards.flatMap((guard) => guard.services)) {
    const { key, holdingForMs, missing, total } = services.get(one.key) ?? { ...one, missing: 0, total: 0 };
    services.set(key, {
      key,
      holdingForMs: Math.max(holdingForMs, one.holdingForMs),
      missing: missing + one.missing,
      total: total + one.total,
    });
  }
  return {
    isHolding: guards.some(({ isHolding }) => isHolding),
    ...(holding.length === 0 ? {} : { holdingForMs: highestOf(holding) }),
    missingSessions: sum(({ missingSessions }) => missingSessions),
    sessions: sum(({ sessions }) => sessions),
    services: [...services.values()],
    thresholds: guards[0]!.thresholds,
    heldSessions: sum(({ heldSessions }) => heldSessions),
    heldInstances: sum(({ heldInstances }) => heldInstances),
  };
}
