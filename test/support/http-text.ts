import { RawSocket } from './raw-socket.ts';
import type { HttpReply } from './raw-socket.ts';

/** A registration that is as small as can be. */
export const registration = '{"service":"s","instance":{"host":"h","port":1}}';
export const healthHead = 'GET /health/live HTTP/1.1\r\nHost: x\r\n';
export const putHead = 'PUT /v1/instances HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n';

/** Text as one chunk, with what may follow its length and the last chunk. */
export function encodeChunk(text: string, extension = '', trailer = ''): string {
  return `${text.length.toString(16)}${extension}\r\n${text}\r\n0\r\n${trailer}\r\n`;
}

/** Sends text on a connection of its own, and reads the first answer; the connection stays. */
export async function ask(port: number, text: string): Promise<{ socket: RawSocket; reply: HttpReply }> {
  const socket = await RawSocket.connect(port);
  socket.write(text);
  return { socket, reply: await socket.readReply({ hasBody: !text.startsWith('HEAD') }) };
}

export function readCode({ body }: HttpReply): string {
  return (JSON.parse(body) as { error: { code: string } }).error.code;
}
