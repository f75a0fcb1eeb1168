import type { ServerResponse } from 'node:http';

import type { CloseReason } from '../../protocol/errors.ts';
import { serviceKey } from '../../protocol/service-key.ts';
import type { SubscribeParams } from '../../protocol/types.ts';
import type { Delivery } from '../../push/fan-out.ts';
import type { Result } from '../../sessions/answers.ts';
import type { Encoding } from '../../sessions/encoding.ts';
import { encodeChange, encodeKeyNews, encodeResult } from '../../sessions/json-rpc.ts';
import type { SessionCore } from '../../sessions/session-core.ts';
import type { Socket } from '../../transport/transport.ts';
import type { Waiter } from './waiters.ts';

/** Server-Sent Events, for callers that watch over HTTP: what JSON-RPC has as `service.changed`, with the version as the event's id. */
export const eventEncoding: Encoding = {
  encodeAnswer: (_id, result) => encodeEvent('result', undefined, encodeResult(result)),
  encodeRefusal: (_id, failure) => encodeEvent('error', undefined, JSON.stringify({ error: failure })),
  joinBatch: (answers) => answers.join(''),
  encodeNotice: ({ kind, ...notice }) => encodeEvent(kind, undefined, JSON.stringify(notice)),
  encodePush: (push) => encodeEvent(push.kind, push.to, encodeChange(push)),
  encodeKeyNews: (notice) => encodeEvent('keys', notice.version, encodeKeyNews(notice)),
};

function encodeEvent(event: string, id: number | undefined, data: string): string {
  return `event: ${event}\n${id === undefined ? '' : `id: ${id}\n`}data: ${data}\n\n`;
}

/** What a stream begins with. A caller that comes back to an unchanged service has all that there is to say. */
export function encodeFirst(params: SubscribeParams, first: Result): string {
  const key = serviceKey(params);
  switch (first.kind) {
    case 'state': {
      const { count, version: to, list } = first;
      return encodeEvent('snapshot', to, encodeChange({ kind: 'snapshot', key, count, to, list }));
    }
    case 'resumed':
      return first.from === first.version
        ? ': nothing has changed\n\n'
        : encodeEvent('delta', first.version, encodeResult(first));
    default:
      throw new Error(`not an answer to a subscription: ${first.kind}`);
  }
}

/** How long a caller has to read the rest of what has ended, in milliseconds. */
const lingerMs = 2000;

export interface EventStreamOptions {
  readonly core: SessionCore;
  /** Of the caller. */
  readonly address: string;
  /** Bytes that may wait in the process for the caller to read. */
  readonly backlogBytesMax: number;
  /** When the server stops, callers are asked to come back spread over this time, in milliseconds. */
  readonly reconnectSpreadMs: number;
}

/**
 * A streamed answer over HTTP: it stands for the socket of a session that only listens. How much its caller has read is unknown; Node reports what has gone to the kernel, and
 * so a ping is a comment that counts as answered once it has left.
 */
export class EventStream implements Socket {
  readonly address: string;
  readonly #core: SessionCore;
  readonly #backlogBytesMax: number;
  readonly #reconnectSpreadMs: number;
  /** Frames that came before the answer's head was sent. */
  #early: (string | Uint8Array)[] = [];
  #response: ServerResponse | undefined;
  #waiter: Waiter | undefined;
  #isOver = false;

  constructor({ core, address, backlogBytesMax, reconnectSpreadMs }: EventStreamOptions) {
    this.#reconnectSpreadMs = reconnectSpreadMs;
    this.address = address;
    this.#core = core;
    this.#backlogBytesMax = backlogBytesMax;
  }

  /** `first`: what it begins with. */
  begin(response: ServerResponse, waiter: Waiter, first: string): void {
    this.#waiter = waiter;
    if (response.destroyed || response.writableEnded) {
      // The caller has gone while it was subscribed.
      this.#finish();
      return;
    }
    this.#response = response;
    response.on('drain', () => {
      if (!this.#isOver) this.#core.onDrain(waiter.session);
    });
    response.once('close', () => {
      this.#finish();
    });
    response.write(first);
    for (const frame of this.#early.splice(0)) response.write(frame);
    if (this.#isOver) endStream(response);
  }

  send(frame: string | Uint8Array): Delivery {
    const response = this.#response;
    if (this.#isOver || response?.destroyed === true) return 'closed';
    if (response === undefined) {
      this.#early.push(frame);
      return 'sent';
    }
    const waiting = response.writableLength;
    if (waiting > 0 && waiting + frame.length > this.#backlogBytesMax) return 'dropped';
    response.write(frame);
    return 'sent';
  }

  cork(sends: () => void): void {
    this.#response?.cork();
    sends();
    this.#response?.uncork();
  }

  ping(mark: string): boolean {
    if (this.#isOver || this.#response === undefined || this.#response.destroyed) return false;
    this.#response.write(`: ${mark}\n\n`, (error) => {
      const hasLeft = error === undefined || error === null;
      if (hasLeft && !this.#isOver) this.#waiter?.pong(mark);
    });
    return true;
  }

  end(reason: CloseReason): void {
    if (this.#isOver) return;
    const retry = reason === 'going_away' ? `retry: ${Math.round(Math.random() * this.#reconnectSpreadMs)}\n` : '';
    const last = `${retry}${encodeEvent('end', undefined, JSON.stringify({ reason }))}`;
    if (this.#response === undefined) this.#early.push(last);
    else endStream(this.#response, last);
    this.#finish();
  }

  #finish(): void {
    this.#isOver = true;
    this.#waiter?.end();
  }
}

/** Whoever is told that it is over because it does not read does not read that either: its connection, and what waits on it, must not stay. */
function endStream(response: ServerResponse, last = ''): void {
  response.end(last);
  const timer = setTimeout(() => response.destroy(), lingerMs);
  response.once('close', () => {
    clearTimeout(timer);
  });
}
