import type { ServerConfig } from '../../config/config.ts';
import type { Failure } from '../../protocol/errors.ts';
import type { ServiceQuery, WatchQuery } from '../../protocol/http-operations.ts';
import { protocolLimits } from '../../protocol/limits.ts';
import type { ListParams } from '../../protocol/types.ts';
import { emptyDifference } from '../../push/push-encoding.ts';
import type { Result } from '../../sessions/answers.ts';
import { encodeResult } from '../../sessions/json-rpc.ts';
import { waitForReply } from '../../sessions/reply-waiting.ts';
import type { Call } from '../../sessions/requests.ts';
import type { SessionCore } from '../../sessions/session-core.ts';
import { refuseUnreadAnswer } from '../../transport/http-answer.ts';
import type { HttpAnswer } from '../../transport/transport.ts';
import { waitForChange } from './change-wait.ts';
import { encodeFirst, EventStream } from './event-stream.ts';
import type { HttpCaller, StreamAnswer } from './http-caller.ts';
import { answerTagged } from './tagged-answer.ts';
import { readSubscription } from './waiters.ts';
import type { Waiters } from './waiters.ts';

export interface ListReadsOptions {
  readonly core: SessionCore;
  readonly config: Pick<
    ServerConfig,
    'httpAnswerBytesMax' | 'httpWaitMaxMs' | 'reconnectSpreadMs' | 'sessionBacklogBytesMax'
  >;
  readonly waiters: Waiters;
}

/** Reads lists for callers over HTTP: as they are, once they have changed, or again and again. */
export class ListReads {
  readonly #options: ListReadsOptions;
  readonly #core: SessionCore;
  readonly #waiters: Waiters;

  constructor(options: ListReadsOptions) {
    this.#options = options;
    this.#core = options.core;
    this.#waiters = options.waiters;
  }

  list(params: ListParams, caller: HttpCaller): Promise<HttpAnswer | Failure> {
    return this.#read({ method: 'service.list', params }, caller);
  }

  async query({ index, wait, ...params }: ServiceQuery, caller: HttpCaller): Promise<HttpAnswer | Failure> {
    if (index !== undefined) {
      caller.startWaiting();
      const outcome = await waitForChange(
        {
          call: {
            method: 'service.subscribe',
            params: readSubscription(params, { mode: 'delta', version: index }),
          },
          isChanged: (first) => !isAt(first, index),
          wait,
        },
        {
          waiters: this.#waiters,
          address: caller.address,
          grant: caller.grant,
          waitMaxMs: this.#options.config.httpWaitMaxMs,
          onGone: caller.onGone,
        },
      );
      caller.stopWaiting();
      const refusal = typeof outcome === 'object' ? outcome : caller.refuseLate();
      if (refusal !== undefined) return refusal;
    }
    return this.#read({ method: 'service.query', params }, caller);
  }

  /** Server-Sent Events: the list, and then what changes. */
  async watch(
    { mode = 'snapshot', version, ...query }: WatchQuery,
    caller: HttpCaller,
  ): Promise<StreamAnswer | Failure> {
    const refusal = this.#waiters.refuse();
    if (refusal !== undefined) return refusal;
    caller.startWaiting();
    const held = version ?? readVersion(caller.lastEventId);
    const params = readSubscription(query, { mode, ...(held === undefined ? {} : { version: held }) });
    const stream = new EventStream({
      core: this.#core,
      address: caller.address,
      backlogBytesMax: this.#options.config.sessionBacklogBytesMax,
      reconnectSpreadMs: this.#options.config.reconnectSpreadMs,
    });
    const { waiter, first } = await this.#waiters.begin(stream, { method: 'service.subscribe', params }, caller.grant);
    if ('code' in first) {
      waiter.end();
      return first;
    }
    return {
      headers: { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no' },
      begin: (response) => {
        stream.begin(response, waiter, encodeFirst(params, first));
      },
    };
  }

  #read(call: Call, caller: HttpCaller): Promise<HttpAnswer | Failure> {
    // What would be refused when it is there is not even fetched.
    const tooLarge = refuseUnreadAnswer(this.#options.config.httpAnswerBytesMax);
    return caller.pace(async (room) => {
      const result = await waitForReply(
        (reply) => {
          this.#core.execute(undefined, call, reply);
        },
        { room, tooLarge },
      );
      return 'code' in result ? result : answerTagged(encodeResult(result), caller);
    });
  }
}

/** Whether the caller has the list already. Of a service that changes, a filter may let through what it did. */
function isAt(first: Result, index: number): boolean {
  if (first.kind === 'resumed') return first.version === index || first.difference === emptyDifference;
  return first.kind === 'state' && first.version === index;
}

/** The version that a browser holds that comes back; undefined: it has none. */
function readVersion(lastEventId: string): number | undefined {
  if (!/^\d{1,16}$/.test(lastEventId)) return undefined;
  const version = Number(lastEventId);
  return version <= protocolLimits.heldVersionMax ? version : undefined;
}
