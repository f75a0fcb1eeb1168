import type { ServerResponse } from 'node:http';

import type { HttpAnswer } from '../../transport/transport.ts';
import type { FileAnswer } from './console-files.ts';
import type { UnreadAnswer, UnreadAnswers } from './unread-answers.ts';

/** Below this the kernel takes nearly every answer at once. */
const smallAnswerCharacters = 16_384;
/** So much of a large answer is handed to the socket at a time. */
const sliceBytes = 65_536;

export interface UnreadBounds {
  readonly unread: UnreadAnswers;
  /** Instead of an answer for which there is no room. */
  readonly refuseUnread: (address: string) => HttpAnswer;
}

/** Sends an answer over HTTP; one that is large leaves as its caller reads. */
export function sendAnswer(
  response: ServerResponse,
  answer: HttpAnswer | FileAnswer,
  address: string,
  { unread, refuseUnread }: UnreadBounds,
): void {
  // The caller has gone, or has been refused already for what it went on to send.
  if (response.destroyed || response.headersSent) return;
  if (response.req.method === 'HEAD' || answer.body.length < smallAnswerCharacters) {
    sendWhole(response, answer);
    return;
  }
  // Judged by its characters, which are no more than its bytes: one that is refused must not take memory of its own before.
  if (!unread.hasRoom(answer.body.length)) {
    sendWhole(response, refuseUnread(address));
    return;
  }
  const body = typeof answer.body === 'string' ? Buffer.from(answer.body) : answer.body;
  writeHead(response, answer, body.length);
  new LargeAnswer(response, body, address, unread).begin();
}

function sendWhole(response: ServerResponse, answer: HttpAnswer | FileAnswer): void {
  writeHead(response, answer, Buffer.byteLength(answer.body));
  response.end(answer.body);
}

function writeHead(
  response: ServerResponse,
  { status, headers }: Pick<HttpAnswer, 'status' | 'headers'>,
  length: number,
): void {
  // Neither has a body, nor the length of one.
  const isBodiless = status === 204 || status === 304;
  response.writeHead(status, isBodiless ? headers : { ...headers, 'Content-Length': length });
}

class LargeAnswer implements UnreadAnswer {
  readonly #response: ServerResponse;
  readonly #body: Buffer;
  readonly #unread: UnreadAnswers;
  readonly address: string;
  #offset = 0;
  bytesLeft: number;

  constructor(response: ServerResponse, body: Buffer, address: string, unread: UnreadAnswers) {
    this.#response = response;
    this.#body = body;
    this.#unread = unread;
    this.address = address;
    this.bytesLeft = body.length;
  }

  begin(): void {
    this.#unread.add(this, performance.now());
    // Whether all of it has left, or its caller has.
    this.#response.once('close', () => {
      this.#unread.remove(this);
    });
    this.#response.on('drain', () => {
      // All that was handed over before has left.
      this.bytesLeft = this.#body.length - this.#offset;
      this.#unread.note(this, performance.now());
      this.#proceed();
    });
    this.#proceed();
  }

  cut(): void {
    this.#response.destroy();
  }

  #proceed(): void {
    let hasRoom = true;
    while (hasRoom && this.#offset < this.#body.length) {
      const slice = this.#body.subarray(this.#offset, this.#offset + sliceBytes);
      this.#offset += slice.length;
      hasRoom = this.#response.write(slice);
    }
    if (this.#offset === this.#body.length) this.#response.end();
  }
}
