import type { LoggedInstance, UnitState } from './host-unit.ts';
import type { GuardEvent } from './loss-guard.ts';
import type { MailboxPort } from './partition-link.ts';

/** Everything that the main thread asks of a session host on another thread; see `HostUnit`, whose calls these are. */
export interface UnitCalls {
  connect: { readonly args: [partition: number, port: MailboxPort]; readonly result: undefined };
  disconnect: { readonly args: [partition: number]; readonly result: undefined };
  shut: { readonly args: [slots: readonly number[]]; readonly result: undefined };
  open: { readonly args: [slots: readonly number[]]; readonly result: undefined };
  adoptTable: { readonly args: [table: SharedArrayBuffer]; readonly result: undefined };
  lose: { readonly args: [partition: number]; readonly result: number };
  restore: { readonly args: [partition: number]; readonly result: boolean };
  resume: { readonly args: [partition: number]; readonly result: boolean };
  fence: { readonly args: [partition: number]; readonly result: boolean };
  drain: { readonly args: [reason: string]; readonly result: undefined };
  closeAll: { readonly args: []; readonly result: undefined };
  releaseGuard: { readonly args: [key: string | undefined]; readonly result: undefined };
  readState: { readonly args: []; readonly result: UnitState };
  readLog: { readonly args: []; readonly result: LoggedInstance[] };
}

export type UnitMethod = keyof UnitCalls;

/** A call on its way to a host; `call` numbers it. */
export type ToUnit = {
  readonly [M in UnitMethod]: { readonly call: number; readonly method: M; readonly args: UnitCalls[M]['args'] };
}[UnitMethod];

/** What a host says to the main thread. */
export type FromUnit =
  | { readonly kind: 'result'; readonly call: number; readonly result: UnitCalls[UnitMethod]['result'] }
  | { readonly kind: 'guard'; readonly event: GuardEvent };

/** One end of the way between the main thread and a host. Messages stay in order. */
export interface UnitPort<In, Out> {
  on(event: 'message', take: (message: In) => void): unknown;
  /** `transfer`: mailboxes in the message, which move with it. */
  postMessage(message: Out, transfer?: readonly MailboxPort[]): void;
}
