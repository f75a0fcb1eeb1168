import type { AuditBatch } from '../audit/host-audit.ts';
import type { SessionNote } from '../journal/session-records.ts';
import { sumCounters } from '../runtime/counters.ts';
import type { CounterSnapshot } from '../runtime/counters.ts';
import { carryOutCall, CallSender, proxyCalls } from '../runtime/thread-calls.ts';
import type { AnswerOf, CallMessage, CallResult, MethodsOf, ThreadPort } from '../runtime/thread-calls.ts';
import type { LeaseNews } from '../sessions/lease-record.ts';
import { emptyReport } from '../sessions/loss-messages.ts';
import type { LossReport } from '../sessions/loss-messages.ts';
import type { SessionEvent } from '../sessions/session-journal.ts';
import type { TransferEvent } from '../sessions/session-transfer.ts';
import { emptyState } from './session-host.ts';
import type { SessionHost, HostState } from './session-host.ts';

/** What a host on another thread says: answers to calls of its {@link SessionCore}, and what nobody asked for. */
export type FromHost =
  | ({ readonly kind: 'result' } & CallResult)
  | { readonly kind: 'losses'; readonly report: LossReport }
  | { readonly kind: 'session'; readonly event: SessionEvent }
  | { readonly kind: 'transfer'; readonly event: TransferEvent }
  | { readonly kind: 'lease'; readonly news: LeaseNews }
  | { readonly kind: 'kept'; readonly note: SessionNote }
  | { readonly kind: 'audit'; readonly batch: AuditBatch };

export type HostPort = ThreadPort<FromHost, CallMessage>;

/** What a host on another thread says unasked. */
export interface HostEvents {
  readonly onLosses: (report: LossReport) => void;
  readonly onSession: (event: SessionEvent) => void;
  /** A host's message about a session that continues on another. */
  readonly onTransfer: (host: number, event: TransferEvent) => void;
  /** A lease was granted, or has ended. */
  readonly onLease: (news: LeaseNews) => void;
  /** A session or lease holds something, or has ended. */
  readonly onKept: (note: SessionNote) => void;
  /** What is to be noted in the audit log. */
  readonly onAudit: (batch: AuditBatch) => void;
}

/** What each call answers while the host's thread is gone: it holds nothing, and has nothing to say. */
const absentAnswers: { readonly [M in MethodsOf<SessionHost>]: AnswerOf<SessionHost[M]> } = {
  connect: undefined,
  connectStore: undefined,
  disconnect: undefined,
  freeze: undefined,
  thaw: undefined,
  adoptTable: undefined,
  lose: 0,
  restore: true,
  resume: true,
  resumeReads: true,
  fence: true,
  recover: false,
  setDefaultWeights: undefined,
  setOrders: undefined,
  setAccess: undefined,
  refresh: undefined,
  drain: undefined,
  closeAll: undefined,
  requestReconnect: 0,
  obeyGuard: undefined,
  readState: emptyState({}),
  readLog: [],
  readSessions: [],
  removeInstance: [],
  countSubscribers: 0,
  describeOwners: [],
  inspectSession: undefined,
  carryOutLease: { code: 'busy', message: 'the thread that holds the lease is being restarted', retryAfterMs: 500 },
  detach: 'absent',
  takeSlice: undefined,
  bring: undefined,
  answerTakeover: undefined,
  handleMisrouted: undefined,
};

/**
 * A session host on another thread, as the main thread sees it: every call is a message. Its thread may end and another take its place; in between calls are
 * answered as by a host that holds nothing.
 */
export class RemoteHost {
  readonly number: number;
  /** The calls. */
  readonly host: SessionHost;
  readonly #events: HostEvents;
  readonly #calls: CallSender = new CallSender();
  #port: HostPort | undefined;
  /** What threads that have ended had counted. */
  #countersBefore: CounterSnapshot = {};
  #lastState: HostState | undefined;

  constructor(number: number, events: HostEvents) {
    this.number = number;
    this.#events = events;
    this.host = proxyCalls<SessionHost>((method, args) => this.#call(method as MethodsOf<SessionHost>, args), {
      number,
      readState: () => this.#readState(),
    });
  }

  /** A thread has begun. */
  attach(port: HostPort): void {
    this.#port = port;
    port.on('message', (message) => {
      if (this.#port !== port) return;
      switch (message.kind) {
        case 'result':
          this.#calls.settle(message);
          return;
        case 'losses':
          this.#events.onLosses(message.report);
          return;
        case 'session':
          this.#events.onSession(message.event);
          return;
        case 'transfer':
          this.#events.onTransfer(this.number, message.event);
          return;
        case 'lease':
          this.#events.onLease(message.news);
          return;
        case 'kept':
          this.#events.onKept(message.note);
          return;
        case 'audit':
          this.#events.onAudit(message.batch);
          return;
        default:
          message satisfies never;
      }
    });
  }

  /** The thread has ended, and all that it said has been heard. */
  detach(): void {
    this.#port = undefined;
    this.#countersBefore = this.#lastState?.counters ?? this.#countersBefore;
    this.#lastState = undefined;
    this.#calls.settleAll((method) => absentAnswers[method as MethodsOf<SessionHost>]);
  }

  #call(method: MethodsOf<SessionHost>, args: readonly unknown[]): unknown {
    const port = this.#port;
    if (port === undefined) return this.#answerAbsent(method, args);
    return this.#calls.send(method, args, (message, transfer) => {
      port.postMessage(message, transfer);
    });
  }

  #answerAbsent(method: MethodsOf<SessionHost>, args: readonly unknown[]): unknown {
    if (method === 'obeyGuard') {
      const [{ ask }] = args as Parameters<SessionHost['obeyGuard']>;
      if (ask !== 0) this.#events.onLosses(emptyReport(this.number, ask));
      return undefined;
    }
    if (method === 'connectStore') (args as Parameters<SessionHost['connectStore']>)[0].close();
    const answer = absentAnswers[method];
    const last = args.at(-1);
    if (typeof last !== 'function') return Promise.resolve(answer);
    (last as (answer: unknown) => void)(answer);
    return undefined;
  }

  async #readState(): Promise<HostState> {
    const state = (await this.#call('readState', [])) as HostState;
    if (this.#port === undefined) return emptyState(this.#countersBefore);
    this.#lastState = { ...state, counters: sumCounters([this.#countersBefore, state.counters]) };
    return this.#lastState;
  }
}

/** The other end: carries out what the main thread asks of a host on this one. What goes wrong is a bug, and is thrown. */
export function serveHost(host: SessionHost, port: ThreadPort<CallMessage, FromHost>): void {
  port.on('message', (message) => {
    const { call } = message;
    carryOutCall(host, message, (result) => {
      port.postMessage({ kind: 'result', call, result } satisfies FromHost);
    });
  });
}
