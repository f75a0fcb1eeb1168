import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

export const opcodes = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa } as const;

export interface FrameOptions {
  /** By default {@link opcodes.text}. */
  readonly opcode?: number;
  readonly isFinal?: boolean;
  /** The three reserved bits, 0 to 7. */
  readonly reserved?: number;
  /** Clients must mask; false breaks the rule. */
  readonly isMasked?: boolean;
  /** How the length is written; by default the shortest form. */
  readonly lengthBits?: 7 | 16 | 64;
  /** A length that is not the payload's. */
  readonly length?: bigint;
}

export interface ServerFrame {
  readonly opcode: number;
  readonly payload: Buffer;
}

/** How a connection ended: with the close code that the server sent, or undefined when it was just cut. */
export interface RawEnd {
  readonly code: number | undefined;
}

const maskKey = Buffer.from([0x12, 0x34, 0x56, 0x78]);

/** Makes a WebSocket frame by hand, right or wrong. */
export function encodeFrame(payload: string | Uint8Array, options: FrameOptions = {}): Buffer {
  const { opcode = opcodes.text, isFinal = true, reserved = 0, isMasked = true } = options;
  const bytes = Buffer.from(payload);
  const length = options.length ?? BigInt(bytes.length);
  const bits = options.lengthBits ?? (length < 126n ? 7 : length < 65_536n ? 16 : 64);
  const mask = isMasked ? 0x80 : 0;
  const head = [(isFinal ? 0x80 : 0) | (reserved << 4) | opcode];
  const extended = Buffer.alloc(bits === 7 ? 0 : bits / 8);
  if (bits === 7) head.push(mask | Number(length));
  else if (bits === 16) {
    head.push(mask | 126);
    extended.writeUInt16BE(Number(length));
  } else {
    head.push(mask | 127);
    extended.writeBigUInt64BE(length);
  }
  if (!isMasked) return Buffer.concat([Buffer.from(head), extended, bytes]);
  const masked = bytes.map((byte, index) => byte ^ maskKey[index % 4]!);
  return Buffer.concat([Buffer.from(head), extended, maskKey, masked]);
}

/** The payload of a close frame. */
export function encodeCloseCode(code: number, reason = ''): Buffer {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(code);
  return Buffer.concat([head, Buffer.from(reason)]);
}

export interface HandshakeOptions {
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string | undefined>>;
}

/** The text of a WebSocket handshake. A header set to undefined is left out. */
export function encodeHandshake({ path = '/v1/session', headers = {} }: HandshakeOptions = {}): string {
  const all: Record<string, string | undefined> = {
    Host: '127.0.0.1',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]));
  return `GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
}

export interface HttpReply {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** A bare TCP connection: answers nothing by itself, not even pings, and sends whatever it is told to. */
export class RawSocket {
  readonly socket: Socket;
  /** Settles when the connection is over. */
  readonly ended: Promise<RawEnd>;
  #received: Buffer = Buffer.alloc(0);
  #closeCode: number | undefined;
  #isOver = false;
  #wake: () => void = () => undefined;

  /** What it runs on; with TLS, below `socket`. */
  readonly #line: Socket;

  private constructor(socket: Socket, line: Socket) {
    this.socket = socket;
    this.#line = line;
    socket.setNoDelay(true);
    // A reset is one of the ends that tests look for; `close` follows.
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      this.#wake();
    });
    this.ended = new Promise((resolve) => {
      socket.once('close', () => {
        this.#isOver = true;
        this.#findCloseFrame();
        this.#wake();
        resolve({ code: this.#closeCode });
      });
    });
  }

  /** `trust`: the authority of the server's certificate; without it the connection is in the clear. */
  static connect(port: number, host: string = '127.0.0.1', trust?: string): Promise<RawSocket> {
    return new Promise((resolve, reject) => {
      const line = connect({ port, host });
      line.setNoDelay(true);
      const socket = trust === undefined ? line : connectTls({ socket: line, ca: trust, host });
      if (socket !== line) line.on('error', reject);
      socket.once('error', reject);
      socket.once(trust === undefined ? 'connect' : 'secureConnect', () => {
        socket.off('error', reject);
        resolve(new RawSocket(socket, line));
      });
    });
  }

  /** Connects and completes the handshake. */
  static async openSession(port: number): Promise<RawSocket> {
    const socket = await RawSocket.connect(port);
    socket.write(encodeHandshake());
    const { status } = await socket.readReply();
    if (status !== 101) throw new Error(`the handshake was answered with ${status}`);
    return socket;
  }

  write(bytes: string | Uint8Array): void {
    this.socket.write(bytes);
  }

  /** One segment for each byte. */
  async writeByteByByte(bytes: Uint8Array): Promise<void> {
    for (const byte of bytes) {
      this.socket.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
  }

  /** The head and, as far as `Content-Length` says, the body of an HTTP response. */
  async readReply({ hasBody = true }: { readonly hasBody?: boolean } = {}): Promise<HttpReply> {
    const end = '\r\n\r\n';
    const head = await this.#take((bytes) => {
      const at = bytes.indexOf(end);
      return at < 0 ? undefined : at + end.length;
    });
    const [first = '', ...lines] = head.toString('latin1').trimEnd().split('\r\n');
    const headers = new Map(
      lines.map((line): [string, string] => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    const length = hasBody ? Number(headers.get('content-length') ?? 0) : 0;
    const body = await this.#take((bytes) => (bytes.length >= length ? length : undefined));
    return { status: Number(first.split(' ')[1]), headers, body: body.toString() };
  }

  /** The next frame from the server. */
  async readFrame(): Promise<ServerFrame> {
    const bytes = await this.#take((received) => measureFrame(received)?.end);
    const { start } = measureFrame(bytes)!;
    return { opcode: bytes[0]! & 0x0f, payload: bytes.subarray(start) };
  }

  /** The next text frame from the server, as JSON; frames of other kinds before it are skipped. */
  async readJson(): Promise<Record<string, unknown>> {
    for (;;) {
      const { opcode, payload } = await this.readFrame();
      if (opcode === opcodes.text) return JSON.parse(payload.toString()) as Record<string, unknown>;
    }
  }

  /** Everything that came and was not read. */
  get unread(): Buffer {
    return this.#received;
  }

  /** Ends with a TCP reset. */
  reset(): void {
    // Once the other end has said that it is done, Node is about to say so itself; a reset in the middle of that never ends.
    if (this.socket.readableEnded) this.socket.destroy();
    else this.#line.resetAndDestroy();
  }

  /** Ends with a TCP FIN. */
  destroy(): void {
    this.socket.destroy();
  }

  async #take(measure: (received: Buffer) => number | undefined): Promise<Buffer> {
    for (;;) {
      const length = measure(this.#received);
      if (length !== undefined) {
        const taken = this.#received.subarray(0, length);
        this.#received = this.#received.subarray(length);
        return taken;
      }
      if (this.#isOver) {
        throw new Error(`the connection ended first; unread: ${this.#received.toString('latin1').slice(0, 200)}`);
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Looks for a close frame among what nobody has read. */
  #findCloseFrame(): void {
    let rest = this.#received;
    for (let measured = measureFrame(rest); measured !== undefined; measured = measureFrame(rest)) {
      if ((rest[0]! & 0x0f) === opcodes.close && measured.end - measured.start >= 2) {
        this.#closeCode = rest.readUInt16BE(measured.start);
      }
      rest = rest.subarray(measured.end);
    }
  }
}

/** Where the payload of a server's frame starts and ends; undefined while it is not all there. Servers do not mask. */
function measureFrame(bytes: Buffer): { readonly start: number; readonly end: number } | undefined {
  if (bytes.length < 2) return undefined;
  const short = bytes[1]! & 0x7f;
  const start = short === 126 ? 4 : short === 127 ? 10 : 2;
  if (bytes.length < start) return undefined;
  const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
  return bytes.length < start + length ? undefined : { start, end: start + length };
}
