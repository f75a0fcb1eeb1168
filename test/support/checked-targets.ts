import http from 'node:http';
import http2 from 'node:http2';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

/** What checks reach: servers that are well or ill in every way, each on a port of its own. */
export class CheckedTargets {
  readonly #servers: Server[] = [];
  readonly #sockets: Set<Socket> = new Set();
  /** Of the HTTP server: what it answers with. */
  status = 200;
  body = 'all is well';
  readonly requests: http.IncomingMessage[] = [];
  /** Of the gRPC server: 1 is serving. */
  grpcStatus = 1;

  async listenHttp(): Promise<number> {
    return this.#listen(
      http.createServer((request, response) => {
        this.requests.push(request);
        response.writeHead(this.status).end(this.body);
      }),
    );
  }

  /** Takes connections, and says nothing. */
  async listenSilently(): Promise<number> {
    return this.#listen(createServer((socket) => socket.resume()));
  }

  /** Sends without end. */
  async listenEndlessly(): Promise<number> {
    const flood = Buffer.alloc(65_536, 'x');
    return this.#listen(
      createServer((socket) => {
        const send = (): void => {
          while (!socket.destroyed && socket.write(flood));
        };
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFF\r\n');
        socket.on('drain', send);
        send();
      }),
    );
  }

  async listenGrpc(): Promise<number> {
    const server = http2.createServer();
    server.on('stream', (stream, headers) => {
      const isHealth = headers[':path'] === '/grpc.health.v1.Health/Check';
      const status = isHealth ? '0' : '12';
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => {
        stream.sendTrailers({ 'grpc-status': status });
      });
      stream.end(Buffer.from([0, 0, 0, 0, 2, 0x08, this.grpcStatus]));
    });
    return this.#listen(server);
  }

  /** Open connections to all of them. */
  get connections(): number {
    return this.#sockets.size;
  }

  async #listen(server: Server): Promise<number> {
    this.#servers.push(server);
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    return (server.address() as AddressInfo).port;
  }

  stop(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
