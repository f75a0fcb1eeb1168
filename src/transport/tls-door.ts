import { createServer as createPlainServer } from 'node:http';
import type { Server, ServerOptions } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Server as TlsServer, TLSSocket } from 'node:tls';

import type { ServerConfig } from '../config/config.ts';
import type { Counters } from '../runtime/counters.ts';
import { readClientCertificate } from '../tls/client-certificate.ts';
import type { ClientCertificate } from '../tls/client-certificate.ts';
import { createTlsContextOptions } from '../tls/tls-context.ts';
import type { TlsMaterial } from '../tls/tls-material.ts';
import { normalizeAddress } from './addresses.ts';

export interface TlsDoorOptions {
  readonly config: Pick<
    ServerConfig,
    'tlsClientCertificate' | 'tlsPrincipal' | 'tlsHandshakesMax' | 'httpHeadTimeoutMs'
  >;
  readonly material: TlsMaterial;
  /** A handshake did not come to its end: what came was not TLS, or not good enough, or too slow. */
  readonly onFailure: (address: string) => void;
  /** A connection was closed since too many handshakes are under way. */
  readonly onFull: (address: string) => void;
}

/** What a port does before HTTP begins, if it speaks TLS: handshakes, each with an end and all with a bound, and whom certificates name. */
export class TlsDoor {
  readonly #options: TlsDoorOptions;
  readonly #clients: WeakMap<Socket, ClientCertificate> = new WeakMap();
  /** Connections whose handshake is under way, by their two ends. */
  readonly #handshaking: Map<string, Socket> = new Map();
  #material: TlsMaterial;
  #server: TlsServer | undefined;

  constructor(options: TlsDoorOptions) {
    this.#options = options;
    this.#material = options.material;
  }

  /** A server of HTTP behind it. */
  createServer(options: ServerOptions): Server {
    const { tlsClientCertificate, httpHeadTimeoutMs } = this.#options.config;
    const server = createSecureServer({
      ...options,
      ...createTlsContextOptions(this.#material),
      honorCipherOrder: true,
      handshakeTimeout: httpHeadTimeoutMs,
      requestCert: tlsClientCertificate !== 'none',
      // A handshake fails then without a certificate; see below for those who may have none.
      rejectUnauthorized: tlsClientCertificate === 'require',
    });
    this.#server = server;
    wrapListener(server, 'connection', (socket) => this.#admit(socket));
    wrapListener(server, 'secureConnection', (socket) => this.#welcome(socket as TLSSocket));
    // By itself it would answer in HTTP, over what is not there.
    server.removeAllListeners('tlsClientError');
    server.on('tlsClientError', (_error, socket) => {
      this.#options.onFailure(addressOf(socket));
      socket.destroy();
    });
    return server as object as Server;
  }

  /** Connections from now on get the new one; those that are open go on with what they began with. Throws if it is of no use. */
  replace(material: TlsMaterial): void {
    this.#server?.setSecureContext(createTlsContextOptions(material));
    this.#material = material;
  }

  /** What the client has shown; undefined: nothing, or nothing that names anybody. */
  clientOf(socket: Socket): ClientCertificate | undefined {
    return this.#clients.get(socket);
  }

  /** Cuts connections that have not become any of HTTP yet. */
  close(): void {
    for (const socket of this.#handshaking.values()) socket.destroy();
  }

  #admit(socket: Socket): boolean {
    const ends = endsOf(socket);
    // It is gone already.
    if (ends === undefined) {
      socket.destroy();
      return false;
    }
    if (this.#handshaking.size >= this.#options.config.tlsHandshakesMax) {
      this.#options.onFull(addressOf(socket));
      socket.destroy();
      return false;
    }
    this.#handshaking.set(ends, socket);
    socket.once('close', () => {
      if (this.#handshaking.get(ends) === socket) this.#handshaking.delete(ends);
    });
    return true;
  }

  #welcome(socket: TLSSocket): boolean {
    const ends = endsOf(socket);
    if (ends !== undefined) this.#handshaking.delete(ends);
    const { tlsClientCertificate, tlsPrincipal } = this.#options.config;
    if (tlsClientCertificate === 'none') return true;
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) return true;
    if (!socket.authorized) {
      // Nobody has issued it whom we trust: that is not the same as none.
      this.#options.onFailure(addressOf(socket));
      socket.destroy();
      return false;
    }
    const client = readClientCertificate(certificate, tlsPrincipal);
    if (client !== undefined) this.#clients.set(socket, client);
    return true;
  }
}

/** A server of HTTP, behind TLS if there is a door. */
export function createHttpServer(options: ServerOptions, tls: TlsDoor | undefined): Server {
  return tls === undefined ? createPlainServer(options) : tls.createServer(options);
}

/** Asks before a server goes on with what it takes by an event of that name. */
function wrapListener(
  server: TlsServer,
  event: 'connection' | 'secureConnection',
  isWelcome: (socket: Socket) => boolean,
): void {
  const listeners = server.listeners(event);
  server.removeAllListeners(event);
  server.on(event, (socket: Socket) => {
    if (!isWelcome(socket)) return;
    for (const listener of listeners) Reflect.apply(listener, server, [socket]);
  });
}

function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string | undefined {
  return remoteAddress === undefined ? undefined : [remoteAddress, remotePort, localAddress, localPort].join(' ');
}

function addressOf({ remoteAddress = '' }: Socket): string {
  return normalizeAddress(remoteAddress);
}

/** Undefined without a certificate. */
export function createTlsDoor({
  config,
  material,
  counters,
}: {
  readonly config: TlsDoorOptions['config'];
  readonly material: TlsMaterial | undefined;
  readonly counters: Counters;
}): TlsDoor | undefined {
  if (material === undefined) return undefined;
  return new TlsDoor({
    config,
    material,
    onFailure: (address) => {
      counters.count('tls_handshake_failed', address);
    },
    onFull: (address) => {
      counters.countLimit('tlsHandshakesMax', address);
    },
  });
}
