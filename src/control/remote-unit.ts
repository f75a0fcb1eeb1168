import type { GuardOrders, LossReport } from '../sessions/loss-messages.ts';
import type { SessionEvent } from '../sessions/session-journal.ts';
import type {
  AsideOutcome,
  TransferEvent,
  SessionRecord,
  SessionSlice,
  WantedOutcome,
} from '../sessions/session-transfer.ts';
import { SlotTable } from '../slots/slot-table.ts';
import type { MailboxPort } from '../workers/runner.ts';
import type { HostUnit, ListedSession, LoggedInstance, UnitState } from './host-unit.ts';
import type { FromUnit, ToUnit, UnitCalls, UnitMethod, UnitPort } from './unit-messages.ts';

/** What a host on another thread says unasked. */
export interface UnitEvents {
  readonly onLosses: (report: LossReport) => void;
  readonly onSession: (event: SessionEvent) => void;
  /** A host's word about a session that goes on at another. */
  readonly onTransfer: (host: number, event: TransferEvent) => void;
}

/** A session host on another thread, as the main thread sees it: every call is a message. */
export class RemoteUnit implements HostUnit {
  readonly number: number;
  readonly #port: UnitPort<FromUnit, ToUnit>;
  readonly #waiting: Map<number, (result: never) => void> = new Map();
  #calls = 0;

  constructor(number: number, port: UnitPort<FromUnit, ToUnit>, events: UnitEvents) {
    this.number = number;
    this.#port = port;
    port.on('message', (message) => {
      switch (message.kind) {
        case 'result': {
          const settle = this.#waiting.get(message.call);
          this.#waiting.delete(message.call);
          // What was asked decides what is answered.
          settle?.(message.result as never);
          return;
        }
        case 'losses':
          events.onLosses(message.report);
          return;
        case 'session':
          events.onSession(message.event);
          return;
        case 'transfer':
          events.onTransfer(number, message.event);
          return;
        default:
          message satisfies never;
      }
    });
  }

  connect(partition: number, port: MailboxPort): void {
    void this.#ask('connect', [partition, port], [port]);
  }

  async disconnect(partition: number): Promise<void> {
    await this.#ask('disconnect', [partition]);
  }

  shut(slots: readonly number[]): void {
    void this.#ask('shut', [slots]);
  }

  open(slots: readonly number[]): void {
    void this.#ask('open', [slots]);
  }

  adoptTable(table: SlotTable): void {
    void this.#ask('adoptTable', [table.memory]);
  }

  lose(partition: number): Promise<number> {
    return this.#ask('lose', [partition]);
  }

  restore(partition: number): Promise<boolean> {
    return this.#ask('restore', [partition]);
  }

  resume(partition: number): Promise<boolean> {
    return this.#ask('resume', [partition]);
  }

  resumeReads(partition: number): Promise<boolean> {
    return this.#ask('resumeReads', [partition]);
  }

  fence(partition: number): Promise<boolean> {
    return this.#ask('fence', [partition]);
  }

  drain(reason: string): void {
    void this.#ask('drain', [reason]);
  }

  async closeAll(): Promise<void> {
    await this.#ask('closeAll', []);
  }

  sendAway(reason: string, share: number, spreadMs: number): Promise<number> {
    return this.#ask('sendAway', [reason, share, spreadMs]);
  }

  obeyGuard(orders: GuardOrders): void {
    void this.#ask('obeyGuard', [orders]);
  }

  readState(): Promise<UnitState> {
    return this.#ask('readState', []);
  }

  readLog(): Promise<LoggedInstance[]> {
    return this.#ask('readLog', []);
  }

  readSessions(after: number, limit: number): Promise<ListedSession[]> {
    return this.#ask('readSessions', [after, limit]);
  }

  setAside(secret: string, done: (outcome: AsideOutcome) => void): void {
    this.#call('setAside', [secret], [], done);
  }

  takeSlice(session: number, done: (slice: SessionSlice | undefined) => void): void {
    this.#call('takeSlice', [session], [], done);
  }

  bring(slice: SessionSlice): void {
    void this.#ask('bring', [slice]);
  }

  answerWanted(call: number, outcome: WantedOutcome): void {
    void this.#ask('answerWanted', [call, outcome]);
  }

  takeAstray(record: SessionRecord): void {
    void this.#ask('takeAstray', [record]);
  }

  #ask<M extends UnitMethod>(
    method: M,
    args: UnitCalls[M]['args'],
    transfer: readonly MailboxPort[] = [],
  ): Promise<UnitCalls[M]['result']> {
    return new Promise((resolve) => {
      this.#call(method, args, transfer, resolve);
    });
  }

  /** `settle` is called while the answer is taken, and so before whatever the host says next. */
  #call<M extends UnitMethod>(
    method: M,
    args: UnitCalls[M]['args'],
    transfer: readonly MailboxPort[],
    settle: (result: UnitCalls[M]['result']) => void,
  ): void {
    this.#calls += 1;
    const call = this.#calls;
    this.#waiting.set(call, settle);
    this.#port.postMessage({ call, method, args } as ToUnit, transfer);
  }
}

/** The other end: carries out what the main thread asks of a host on this one. What goes wrong is a bug, and is thrown. */
export function serveUnit(unit: HostUnit, port: UnitPort<ToUnit, FromUnit>): void {
  port.on('message', (message) => {
    const { call } = message;
    const answer = (result: UnitCalls[UnitMethod]['result']): void => {
      port.postMessage({ kind: 'result', call, result } satisfies FromUnit);
    };
    // Answered in the call that settles it: what this host says of the session afterwards must come behind.
    if (message.method === 'setAside') {
      unit.setAside(message.args[0], answer);
      return;
    }
    if (message.method === 'takeSlice') {
      unit.takeSlice(message.args[0], answer);
      return;
    }
    const outcome = carryOut(unit, message);
    if (outcome instanceof Promise) void outcome.then(answer);
    else answer(outcome);
  });
}

type Result = UnitCalls[UnitMethod]['result'];

function carryOut(
  unit: HostUnit,
  call: Exclude<ToUnit, { readonly method: 'setAside' | 'takeSlice' }>,
): Result | Promise<Result> {
  switch (call.method) {
    case 'connect':
      unit.connect(...call.args);
      return undefined;
    case 'disconnect':
      return unit.disconnect(...call.args).then(() => undefined);
    case 'shut':
      unit.shut(...call.args);
      return undefined;
    case 'open':
      unit.open(...call.args);
      return undefined;
    case 'adoptTable':
      unit.adoptTable(SlotTable.attach(call.args[0]));
      return undefined;
    case 'lose':
      return unit.lose(...call.args);
    case 'restore':
      return unit.restore(...call.args);
    case 'resume':
      return unit.resume(...call.args);
    case 'resumeReads':
      return unit.resumeReads(...call.args);
    case 'fence':
      return unit.fence(...call.args);
    case 'drain':
      unit.drain(...call.args);
      return undefined;
    case 'closeAll':
      return unit.closeAll().then(() => undefined);
    case 'sendAway':
      return unit.sendAway(...call.args);
    case 'obeyGuard':
      unit.obeyGuard(...call.args);
      return undefined;
    case 'readState':
      return unit.readState();
    case 'readLog':
      return unit.readLog();
    case 'readSessions':
      return unit.readSessions(...call.args);
    case 'bring':
      unit.bring(...call.args);
      return undefined;
    case 'answerWanted':
      unit.answerWanted(...call.args);
      return undefined;
    case 'takeAstray':
      unit.takeAstray(...call.args);
      return undefined;
    default:
      return call satisfies never;
  }
}
