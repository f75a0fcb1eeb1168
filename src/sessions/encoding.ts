import type { KeyTarget } from '../durable/commits.ts';
import type { Failure } from '../protocol/errors.ts';
import type { RequestId } from '../protocol/types.ts';
import type { ServicePush } from '../push/service-push.ts';
import type { Result } from './answers.ts';

/** Notifications to a session other than pushes. */
export type Notice =
  /** It is asked to reconnect, after a time of its own. */
  | { readonly kind: 'goaway'; readonly reason: string; readonly reconnectAfterMs: number }
  /** Whether what it registered shows (SE7). `key`: of the service. */
  | { readonly kind: 'claim'; readonly key: string; readonly id: string; readonly isShown: boolean };

/** What is new about keys that are watched. */
export interface KeyNotice {
  readonly target: KeyTarget;
  /** All through this version has been told with it. */
  readonly version: number;
  /** A JSON array; undefined: it is not known what has changed. */
  readonly changes: string | undefined;
}

/**
 * What frames a host's sessions are sent: the core deals in values, and this turns them into text. All sessions of a host have the same, so a push is still
 * encoded once for its whole audience (PU3).
 */
export interface Encoding {
  encodeAnswer(id: RequestId, result: Result): string;
  /** `id`: null if the request's is unknown. */
  encodeRefusal(id: RequestId, failure: Failure): string;
  /** The answers of a batch, encoded each by itself, in one frame. */
  joinBatch(answers: readonly string[]): string;
  encodeNotice(notice: Notice): string;
  encodePush(push: ServicePush): string;
  encodeKeyNews(notice: KeyNotice): string;
}
