import type { Grant } from '../../access/access-check.ts';
import type { Failure } from '../../protocol/errors.ts';
import type { Result } from '../../sessions/answers.ts';
import type { Socket } from '../../transport/transport.ts';
import type { WaitCall, Waiter, Waiters } from './waiters.ts';

/** What is waited for. */
export interface ChangeWait {
  readonly call: WaitCall;
  /** Whether the first answer says that there is a change already. */
  readonly isChanged: (first: Result) => boolean;
  /** For how long, such as `30s`, `500ms` or `5m`. */
  readonly wait: string | undefined;
}

export interface ChangeWaitOptions {
  readonly waiters: Waiters;
  /** Of the caller. */
  readonly address: string;
  readonly grant: Grant;
  /** The longest wait, in milliseconds. */
  readonly waitMaxMs: number;
  /** Calls back when the caller has gone. */
  readonly onGone: (callback: () => void) => void;
}

/**
 * Waits until something has changed, or for as long as the caller wishes; resolves to whether it has, or to why it may not wait. Either way what is there is to be read
 * afterwards.
 */
export async function waitForChange(
  { call, isChanged, wait }: ChangeWait,
  { waiters, address, grant, waitMaxMs, onGone }: ChangeWaitOptions,
): Promise<Failure | 'changed' | 'unchanged'> {
  const refusal = waiters.refuse();
  if (refusal !== undefined) return refusal;
  const socket = new WaitSocket(address);
  onGone(() => {
    socket.settle();
  });
  const { waiter, first } = await waiters.begin(socket, call, grant);
  socket.waiter = waiter;
  try {
    if ('code' in first) return first;
    if (isChanged(first)) return 'changed';
    await socket.wait(Math.min(waitMaxMs, wait === undefined ? waitMaxMs : readWaitMs(wait)));
    return socket.isSettled ? 'changed' : 'unchanged';
  } finally {
    waiter.end();
  }
}

/** Of `30s`, `500ms` or `5m`, in milliseconds. */
function readWaitMs(wait: string): number {
  const [, digits = '0', unit = 'ms'] = /^(\d+)(ms|s|m)$/.exec(wait) ?? [];
  return Number(digits) * { ms: 1, s: 1000, m: 60_000 }[unit as 'ms' | 's' | 'm'];
}

/** Stands for the socket of a caller that is only to be woken: whatever it is sent says that there is a change. */
class WaitSocket implements Socket {
  readonly address: string;
  waiter: Waiter | undefined;
  isSettled = false;
  #wake: (() => void) | undefined;

  constructor(address: string) {
    this.address = address;
  }

  /** Resolves with the first change, or after a time. */
  async wait(waitMs: number): Promise<void> {
    if (this.isSettled) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, waitMs);
    });
    clearTimeout(timer);
  }

  settle(): void {
    this.isSettled = true;
    this.#wake?.();
  }

  send(): 'sent' {
    this.settle();
    return 'sent';
  }

  cork(sends: () => void): void {
    sends();
  }

  /** It is on this thread, and alive; the pong comes after the call that pings has returned. */
  ping(mark: string): boolean {
    queueMicrotask(() => this.waiter?.pong(mark));
    return true;
  }

  end(): void {
    this.settle();
    this.waiter?.end();
  }
}
