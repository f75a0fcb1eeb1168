import { saveAll } from './caching.ts';
import type { SlotcastError } from './errors.ts';
import { releaseAllLocks } from './lock-survival.ts';
import { dropPreviousConnection } from './previous-connection.ts';
import type { Step } from './step.ts';

/** The client stops: everything that waits is settled at once. */
export function endAll(step: Step, error: SlotcastError): void {
  const { tables } = step;
  for (const ticket of tables.tickets.keys()) step.reject(ticket, error);
  dropPreviousConnection(step);
  saveAll(step);
  tables.registrations.clear();
  tables.subscriptions.clear();
  tables.exchanges.clear();
  releaseAllLocks(step);
  tables.watches.clear();
  tables.inFlight.clear();
  tables.outbox = [];
  tables.postponed = [];
  tables.retryAtMs = undefined;
  tables.reconciliation = undefined;
}
