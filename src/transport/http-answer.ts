import { errorCodes } from '../protocol/errors.ts';
import type { Failure } from '../protocol/errors.ts';
import type { HttpAnswer } from './transport.ts';

const headers: Readonly<Record<string, string>> = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' };

export function answerJson(body: string, status = 200): HttpAnswer {
  return { status, body, headers };
}

export function answerText({ contentType, text }: { readonly contentType: string; readonly text: string }): HttpAnswer {
  return { status: 200, body: text, headers: { ...headers, 'Content-Type': contentType } };
}

/** `{ "error": { "code": …, "message": …, … } }`, with the status that belongs to the code unless another is given. */
export function answerFailure(failure: Failure, status: number = errorCodes[failure.code].status): HttpAnswer {
  const { code, retryAfterMs } = failure;
  const body = JSON.stringify({ error: failure });
  if (code === 'unauthorized') return { status, body, headers: { ...headers, 'WWW-Authenticate': challenge } };
  if (retryAfterMs === undefined) return { status, body, headers };
  return { status, body, headers: { ...headers, 'Retry-After': String(Math.ceil(retryAfterMs / 1000)) } };
}

/** How credentials are shown. */
const challenge = 'Bearer realm="slotcast", Basic realm="slotcast", charset="UTF-8"';

/** Beyond what may wait in one thread for callers over HTTP to read. */
export function refuseUnreadAnswer(max: number): Failure {
  return {
    code: 'busy',
    message: `callers have not read ${max} bytes of answers`,
    limit: 'httpAnswerBytesMax',
    max,
    retryAfterMs: 1000,
  };
}
