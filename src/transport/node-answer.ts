import { STATUS_CODES } from 'node:http';
import type { ServerResponse } from 'node:http';

import { smallAnswerCharacters } from './transport.ts';
import type { HttpAnswer, TransportOptions } from './transport.ts';
import type { UnreadAnswer, UnreadAnswers } from './unread-answers.ts';

/** So much of a large answer is handed to the socket at a time. */
const sliceBytes = 65_536;

/** Sends an answer over HTTP; one that is large leaves as its caller reads. */
export function sendAnswer(
  response: ServerResponse,
  answer: HttpAnswer,
  address: string,
  { unread, refuseUnread }: Pick<TransportOptions<unknown>, 'unread' | 'refuseUnread'>,
): void {
  if (response.destroyed) return;
  if (response.req.method === 'HEAD' || answer.body.length < smallAnswerCharacters) {
    sendWhole(response, answer);
    return;
  }
  const body = Buffer.from(answer.body);
  if (!unread.hasRoom(body.length)) {
    sendWhole(response, refuseUnread(address));
    return;
  }
  writeHead(response, answer, body.length);
  new LargeAnswer(response, body, address, unread).begin();
}

/** An answer to a handshake that is refused, as it goes over the wire; the connection ends with it. */
export function encodeRefusal({ status, headers, body }: HttpAnswer): string {
  const length = Buffer.byteLength(body);
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Status'}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${length}`,
    'Connection: close',
  ];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}

function sendWhole(response: ServerResponse, answer: HttpAnswer): void {
  writeHead(response, answer, Buffer.byteLength(answer.body));
  response.end(answer.body);
}

function writeHead(response: ServerResponse, { status, headers }: HttpAnswer, length: number): void {
  response.writeHead(status, { ...headers, 'Content-Length': length });
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
      this.#goOn();
    });
    this.#goOn();
  }

  cut(): void {
    this.#response.destroy();
  }

  #goOn(): void {
    let hasRoom = true;
    while (hasRoom && this.#offset < this.#body.length) {
      const slice = this.#body.subarray(this.#offset, this.#offset + sliceBytes);
      this.#offset += slice.length;
      hasRoom = this.#response.write(slice);
    }
    if (this.#offset === this.#body.length) this.#response.end();
  }
}
