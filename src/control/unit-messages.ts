import type { MessagePort } from 'node:worker_threads';

import type { ServerConfig } from '../config/config.ts';
import type { GuardOrders, LossReport } from '../sessions/loss-messages.ts';
import type { SessionEvent } from '../sessions/session-journal.ts';
import type {
  AsideOutcome,
  TransferEvent,
  SessionRecord,
  SessionSlice,
  WantedOutcome,
} from '../sessions/session-transfer.ts';
import type { HttpAnswer, HttpCall } from '../transport/transport.ts';
import type { MailboxPort } from '../workers/runner.ts';
import type { ListedSession, LoggedInstance, UnitState } from './host-unit.ts';

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
  resumeReads: { readonly args: [partition: number]; readonly result: boolean };
  fence: { readonly args: [partition: number]; readonly result: boolean };
  drain: { readonly args: [reason: string]; readonly result: undefined };
  closeAll: { readonly args: []; readonly result: undefined };
  sendAway: { readonly args: [reason: string, share: number, spreadMs: number]; readonly result: number };
  obeyGuard: { readonly args: [orders: GuardOrders]; readonly result: undefined };
  readState: { readonly args: []; readonly result: UnitState };
  readLog: { readonly args: []; readonly result: LoggedInstance[] };
  readSessions: { readonly args: [after: number, limit: number]; readonly result: ListedSession[] };
  setAside: { readonly args: [secret: string]; readonly result: AsideOutcome };
  takeSlice: { readonly args: [session: number]; readonly result: SessionSlice | undefined };
  bring: { readonly args: [slice: SessionSlice]; readonly result: undefined };
  answerWanted: { readonly args: [call: number, outcome: WantedOutcome]; readonly result: undefined };
  takeAstray: { readonly args: [record: SessionRecord]; readonly result: undefined };
}

export type UnitMethod = keyof UnitCalls;

/** A call on its way to a host; `call` numbers it. */
export type ToUnit = {
  readonly [M in UnitMethod]: { readonly call: number; readonly method: M; readonly args: UnitCalls[M]['args'] };
}[UnitMethod];

/** What a host says to the main thread. */
export type FromUnit =
  | { readonly kind: 'result'; readonly call: number; readonly result: UnitCalls[UnitMethod]['result'] }
  | { readonly kind: 'losses'; readonly report: LossReport }
  | { readonly kind: 'session'; readonly event: SessionEvent }
  | { readonly kind: 'transfer'; readonly event: TransferEvent };

/** One end of the way between the main thread and a host. Messages stay in order. */
export interface UnitPort<In, Out> {
  on(event: 'message', take: (message: In) => void): unknown;
  /** `transfer`: mailboxes in the message, which move with it. */
  postMessage(message: Out, transfer?: readonly MailboxPort[]): void;
}

/** What an I/O thread is started with. */
export interface IoThreadStart {
  /** Of its session host. */
  readonly number: number;
  readonly config: ServerConfig;
  /** The slot table. */
  readonly table: SharedArrayBuffer;
  /** The number of the last request of any host, one 64-bit word. */
  readonly lastRequest: SharedArrayBuffer;
  /** See `SharedSessionCounts`. */
  readonly sessionCounts: SharedArrayBuffer;
  /** See `DescriptorBudget`. */
  readonly descriptors: SharedArrayBuffer;
  /** See `Arrivals`. */
  readonly arrivals: SharedArrayBuffer;
  /** See `WarmUp`. */
  readonly warmUp: SharedArrayBuffer;
  /** Wall clock when the registry started, in µs. */
  readonly bornMicros: number;
  /** Names the registry and its history. */
  readonly registry: string;
  /** Whether the log wants to know who comes and goes. */
  readonly isVerbose: boolean;
  /** For the calls of its session host. */
  readonly unit: MessagePort;
  /** One 32-bit word: raised to 1 once all sockets are closed, for a main thread that cannot wait in turns any more. */
  readonly closed: SharedArrayBuffer;
  /** One 32-bit word that the thread raises while it lives. */
  readonly pulse: SharedArrayBuffer;
  /** See `ThreadGauges`. */
  readonly gauges: SharedArrayBuffer;
}

/** What the main thread says to an I/O thread, beside calls of its session host. */
export type ToIoThread =
  | { readonly kind: 'httpAnswer'; readonly number: number; readonly answer: HttpAnswer }
  /** Close all sockets. */
  | { readonly kind: 'close' }
  /** End; all sockets are closed. */
  | { readonly kind: 'end' };

/** What an I/O thread says to the main thread, beside answers of its session host. */
export type FromIoThread =
  /** `taker`: by which connections are handed to it. */
  | { readonly kind: 'ready'; readonly taker: unknown }
  | { readonly kind: 'http'; readonly number: number; readonly call: HttpCall }
  | { readonly kind: 'closed' }
  /** A bug: something was thrown that nobody expected. The thread goes on until it is told to close. */
  | { readonly kind: 'failed'; readonly message: string; readonly stack: string };
