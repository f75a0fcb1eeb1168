import { STATUS_CODES } from 'node:http';

import type { HttpAnswer } from './transport.ts';

/** An answer as it goes over the wire where there is no request to answer it by, or none that was taken; the connection ends with it. */
export function encodeAnswer({ status, headers, body }: HttpAnswer): string {
  const length = Buffer.byteLength(body);
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Status'}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${length}`,
    'Connection: close',
  ];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}
