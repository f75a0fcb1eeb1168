import { App, us_socket_local_port } from 'uWebSockets.js';
import type { WebSocket } from 'uWebSockets.js';

import { sessionPath } from '../../src/protocol/limits.ts';
import type { Instance } from '../../src/protocol/types.ts';
import { endWithParent } from '../child-life.ts';
import type { ServerReport } from '../subjects.ts';

/**
 * The floor to compare with: uWebSockets.js alone, doing the same exchange of the same bytes on one thread. It parses JSON-RPC,
 * answers, and relays changes to subscribers, encoded once. It checks nothing, stores nothing and knows no owners, grace or limits.
 */
interface Request {
  readonly id: number;
  readonly method: string;
  readonly params: { readonly service: string; readonly instance: Instance };
}

interface Watched {
  version: number;
  readonly subscribers: WebSocket<Socket>[];
}

interface Socket {
  watched: Watched | undefined;
}

const host = '127.0.0.1';
const watchedServices = new Map<string, Watched>();
let version = Date.now() * 1000;

function register(ws: WebSocket<Socket>, { id, params: { service, instance } }: Request): void {
  version += 1;
  ws.send(`{"jsonrpc":"2.0","id":${id},"result":{"version":${version},"id":"${instance.id}"}}`);
  const watched = watchedServices.get(service);
  if (watched === undefined) return;
  const range = `"from":${watched.version},"to":${version}`;
  const change = `"count":1,${range},"put":[${JSON.stringify(instance)}],"remove":[]`;
  const name = `"namespace":"public","group":"DEFAULT","service":"${service}"`;
  const frame = Buffer.from(`{"jsonrpc":"2.0","method":"service.changed","params":{${name},${change}}}`);
  watched.version = version;
  for (const subscriber of watched.subscribers) subscriber.send(frame);
}

function subscribe(ws: WebSocket<Socket>, { id, params: { service } }: Request): void {
  let watched = watchedServices.get(service);
  if (watched === undefined) {
    watched = { version, subscribers: [] };
    watchedServices.set(service, watched);
  }
  watched.subscribers.push(ws);
  ws.getUserData().watched = watched;
  ws.send(`{"jsonrpc":"2.0","id":${id},"result":{"version":${watched.version},"instances":[]}}`);
}

endWithParent();
App()
  .ws<Socket>(sessionPath, {
    idleTimeout: 0,
    maxPayloadLength: 1_048_576,
    maxBackpressure: 1_048_576,
    upgrade: (res, req, context) => {
      res.upgrade<Socket>(
        { watched: undefined },
        req.getHeader('sec-websocket-key'),
        req.getHeader('sec-websocket-protocol'),
        req.getHeader('sec-websocket-extensions'),
        context,
      );
    },
    message: (ws, message) => {
      const request = JSON.parse(Buffer.from(message).toString()) as Request;
      if (request.method === 'instance.register') register(ws, request);
      else subscribe(ws, request);
    },
    close: (ws) => {
      const { watched } = ws.getUserData();
      if (watched !== undefined) watched.subscribers.splice(watched.subscribers.indexOf(ws), 1);
    },
  })
  .listen(host, 0, (listening) => {
    if (listening === false) throw new Error(`cannot listen on ${host}`);
    process.send?.({ kind: 'listening', host, port: us_socket_local_port(listening) } satisfies ServerReport);
  });
