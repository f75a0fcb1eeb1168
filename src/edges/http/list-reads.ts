import { createHash } from 'node:crypto';

import type { ServerConfig } from '../../config/config.ts';
import type { Failure } from '../../protocol/errors.ts';
import type { ServiceQuery } from '../../protocol/http-operations.ts';
import type { ListParams } from '../../protocol/types.ts';
import { waitForReply } from '../../sessions/reply-waiting.ts';
import type { SessionHost } from '../../sessions/session-host.ts';
import { answerJson, refuseUnreadAnswer } from '../../transport/http-answer.ts';
import type { HttpAnswer } from '../../transport/transport.ts';

export interface ListReadsOptions {
  readonly host: SessionHost;
  readonly config: Pick<ServerConfig, 'httpAnswerBytesMax'>;
}

/** What a read over HTTP says of what its caller has and can take. */
export interface ReadConditions {
  /** Characters that a list in the answer may have: others wait for their callers to read. */
  readonly room: number;
  /** The `If-None-Match` header; empty if there is none. */
  readonly ifNoneMatch: string;
}

/** Reads lists for callers over HTTP. */
export class ListReads {
  readonly #host: SessionHost;
  readonly #tooLarge: Failure;

  constructor({ host, config }: ListReadsOptions) {
    this.#host = host;
    this.#tooLarge = refuseUnreadAnswer(config.httpAnswerBytesMax);
  }

  async list(params: ListParams, conditions: ReadConditions): Promise<HttpAnswer | Failure> {
    const reply = await waitForReply((to) => {
      this.#host.execute(undefined, { method: 'service.list', params }, to);
    });
    return typeof reply === 'string' ? answerTagged(reply, conditions) : reply;
  }

  async query({ index: _, wait: __, ...params }: ServiceQuery, conditions: ReadConditions): Promise<HttpAnswer | Failure> {
    // What would be refused when it is there is not even fetched.
    const read = { room: conditions.room, tooLarge: this.#tooLarge };
    const reply = await waitForReply((to) => {
      this.#host.execute(undefined, { method: 'service.query', params }, to);
    }, read);
    return typeof reply === 'string' ? answerTagged(reply, conditions) : reply;
  }
}

/** An answer with a tag by which its caller may ask whether it still holds; 304 if it is what the caller has. */
function answerTagged(body: string, { ifNoneMatch }: ReadConditions): HttpAnswer {
  const tag = `"${createHash('sha1').update(body).digest('base64url')}"`;
  const { headers } = answerJson('');
  // To be kept, and asked about each time.
  const tagged = { ...headers, ETag: tag, 'Cache-Control': 'no-cache' };
  if (matchesTag(ifNoneMatch, tag)) return { status: 304, body: '', headers: tagged };
  return { status: 200, body, headers: tagged };
}

function matchesTag(ifNoneMatch: string, tag: string): boolean {
  if (ifNoneMatch.trim() === '*') return true;
  return ifNoneMatch.split(',').some((one) => one.trim().replace(/^W\//, '') === tag);
}
