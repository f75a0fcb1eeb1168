import type { Settlement } from './effects.ts';
import type { Ticket } from './entries.ts';
import { readTimeout } from './options.ts';
import type { CallOptions } from './options.ts';

export type SettlementOf<K extends Settlement['kind']> = Extract<Settlement, { kind: K }>;

interface PendingCall {
  readonly resolve: (settlement: Settlement) => void;
  readonly reject: (error: unknown) => void;
}

/** The promises of calls that the machine has not settled, by their tickets. */
export class PendingCalls {
  readonly #calls: Map<Ticket, PendingCall> = new Map();
  #nextTicket: Ticket = 1;

  /** Makes a promise under a new ticket, which `begin` and `abort` get: `abort` when the caller's signal has ended the wait. */
  add<K extends Settlement['kind']>(
    options: CallOptions,
    begin: (ticket: Ticket, timeoutMs: number | undefined) => void,
    abort: (ticket: Ticket) => void,
  ): Promise<SettlementOf<K>> {
    const { signal } = options;
    const ticket = this.#nextTicket++;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const timeoutMs = readTimeout(options);
      const onAbort = (): void => {
        this.reject(ticket, signal?.reason);
        abort(ticket);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#calls.set(ticket, {
        // The machine settles each kind of call with its own kind of settlement.
        resolve: (settlement) => {
          signal?.removeEventListener('abort', onAbort);
          resolve(settlement as SettlementOf<K>);
        },
        reject: (error) => {
          signal?.removeEventListener('abort', onAbort);
          reject(error);
        },
      });
      begin(ticket, timeoutMs);
    });
  }

  resolve(ticket: Ticket, settlement: Settlement): void {
    this.#remove(ticket)?.resolve(settlement);
  }

  reject(ticket: Ticket, error: unknown): void {
    this.#remove(ticket)?.reject(error);
  }

  #remove(ticket: Ticket): PendingCall | undefined {
    const call = this.#calls.get(ticket);
    this.#calls.delete(ticket);
    return call;
  }
}
