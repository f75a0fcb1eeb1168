/** WebSocket frames as a client sends them, built once and sent many times. */

const opcodes = { text: 0x1, close: 0x8, ping: 0x9, pong: 0xa } as const;

/** The mask key is zero, so that the payload needs no masking: legal on the wire, and free. */
const maskKeyBytes = 4;

function buildFrame(opcode: number, payload: Buffer): Buffer {
  const extendedBytes = payload.length < 126 ? 0 : payload.length < 65_536 ? 2 : 8;
  const frame = Buffer.alloc(2 + extendedBytes + maskKeyBytes + payload.length);
  frame[0] = 0x80 | opcode;
  if (extendedBytes === 0) {
    frame[1] = 0x80 | payload.length;
  } else if (extendedBytes === 2) {
    frame[1] = 0x80 | 126;
    frame.writeUInt16BE(payload.length, 2);
  } else {
    frame[1] = 0x80 | 127;
    frame.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  payload.copy(frame, 2 + extendedBytes + maskKeyBytes);
  return frame;
}

export function buildTextFrame(text: string): Buffer {
  return buildFrame(opcodes.text, Buffer.from(text));
}

export function buildPongFrame(payload: Buffer): Buffer {
  return buildFrame(opcodes.pong, payload);
}

/** An orderly close, code 1000. */
export const closeFrame: Buffer = buildFrame(opcodes.close, Buffer.from([0x03, 0xe8]));

export function buildUpgradeRequest(host: string, port: number, path: string): string {
  return [
    `GET ${path} HTTP/1.1`,
    `Host: ${host}:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: c2xvdGNhc3QtYmVuY2gtMQ==',
    '\r\n',
  ].join('\r\n');
}

export interface FrameHandlers {
  readonly onText: (bytes: Buffer, start: number, end: number) => void;
  readonly onPing: (payload: Buffer) => void;
  /** The code of the close frame, if it has one. */
  readonly onClose: (code: number | undefined) => void;
}

/** Takes whole frames off the front of `bytes`; returns where the first unfinished one begins. */
export function readFrames(bytes: Buffer, end: number, handlers: FrameHandlers): number {
  let at = 0;
  while (end - at >= 2) {
    let start = at + 2;
    let length = bytes[at + 1]! & 0x7f;
    if (length === 126) {
      if (end - at < 4) break;
      length = bytes.readUInt16BE(start);
      start += 2;
    } else if (length === 127) {
      if (end - at < 10) break;
      length = Number(bytes.readBigUInt64BE(start));
      start += 8;
    }
    if (start + length > end) break;
    const opcode = bytes[at]! & 0x0f;
    at = start + length;
    if (opcode === opcodes.text) handlers.onText(bytes, start, at);
    else if (opcode === opcodes.ping) handlers.onPing(Buffer.from(bytes.subarray(start, at)));
    else if (opcode === opcodes.close) handlers.onClose(length >= 2 ? bytes.readUInt16BE(start) : undefined);
  }
  return at;
}
