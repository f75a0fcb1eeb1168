import { createHash } from 'node:crypto';

import { answerJson } from '../../transport/http-answer.ts';
import type { HttpAnswer } from '../../transport/transport.ts';
import type { HttpCaller } from './http-caller.ts';

/** An answer with a tag by which its caller may ask whether it still holds; 304 if it is what the caller has. */
export function answerTagged(body: string, { ifNoneMatch }: Pick<HttpCaller, 'ifNoneMatch'>): HttpAnswer {
  const tag = `"${createHash('sha1').update(body).digest('base64url')}"`;
  const { headers } = answerJson('');
  // To be kept, and asked about each time.
  const tagged = { ...headers, ETag: tag, 'Cache-Control': 'no-cache' };
  if (matchesTag(ifNoneMatch, tag)) return { status: 304, body: '', headers: tagged };
  return { status: 200, body, headers: tagged };
}

/** Whether an `If-None-Match` header names this tag. */
export function matchesTag(ifNoneMatch: string, tag: string): boolean {
  if (ifNoneMatch.trim() === '*') return true;
  return ifNoneMatch.split(',').some((one) => one.trim().replace(/^W\//, '') === tag);
}
