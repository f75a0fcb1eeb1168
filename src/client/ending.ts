import { saveAll } from './caching.ts';
import type { SlotcastError } from './errors.ts';
import { dropFormer } from './former.ts';
import type { Turn } from './turn.ts';

/** The client does nothing any more: everything that waits is told so, at once. */
export function endAll(turn: Turn, error: SlotcastError): void {
  const { books } = turn;
  for (const ticket of books.tickets.keys()) turn.reject(ticket, error);
  dropFormer(turn);
  saveAll(turn);
  books.registrations.clear();
  books.subscriptions.clear();
  books.reads.clear();
  books.inFlight.clear();
  books.outbox = [];
  books.postponed = [];
  books.retryAtMs = undefined;
  books.reconciliation = undefined;
}
