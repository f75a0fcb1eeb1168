import type { ServerResponse } from 'node:http';

import type { Grant } from '../../access/access-check.ts';
import type { Actor } from '../../protocol/actor.ts';
import type { Failure } from '../../protocol/errors.ts';
import type { HttpAnswer } from '../../transport/transport.ts';

/** Who asks over HTTP, and what it can take. */
export interface HttpCaller {
  readonly address: string;
  /** Who it is, and what it may do. */
  readonly grant: Grant;
  readonly actor: Actor;
  /** The `If-None-Match` header; empty if there is none. */
  readonly ifNoneMatch: string;
  /** The `Last-Event-ID` header; empty if there is none. */
  readonly lastEventId: string;
  /**
   * Runs a read whose answer may be large, once others have room beside it. `room`: characters that the answer may have, while others wait for their callers to read. Refused if there
   * is none.
   */
  readonly pace: (read: (room: number) => Promise<HttpAnswer | Failure>) => Promise<HttpAnswer | Failure>;
  /** It waits for something to happen, and so no longer counts as a request in flight. */
  readonly startWaiting: () => void;
  /** It has waited, and what is still to be done for it counts again. */
  readonly stopWaiting: () => void;
  /** Why it may not have any more, after it has waited, what it was allowed before. */
  readonly refuseLate: () => Failure | undefined;
  /** Calls back when the caller has gone. */
  readonly onGone: (callback: () => void) => void;
}

/** A streamed answer, which continues until it is ended. */
export interface StreamAnswer {
  readonly headers: Readonly<Record<string, string>>;
  /** The head has been sent. */
  readonly begin: (response: ServerResponse) => void;
}
