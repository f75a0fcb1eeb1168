import { hostname } from 'node:os';

import type { ServerConfig } from '../../config/config.ts';
import type { Failure } from '../../protocol/errors.ts';
import { OwnNames, readHostName } from '../../transport/own-names.ts';

export interface CallerCheckOptions {
  readonly config: Pick<ServerConfig, 'host' | 'allowedHosts' | 'allowedOrigins' | 'administrationOrigins'>;
}

/** What a request says of where it comes from. */
export interface Caller {
  /** The `Host` header, or the authority of the target if that has one; undefined: HTTP/1.0 needs none. */
  readonly host: string | undefined;
  /** Empty: no browser, or a page of this server that reads. */
  readonly origin: string;
  /** Whether the connection comes from this machine itself. */
  readonly isLocal: boolean;
}

/**
 * Whom a server on somebody's machine answers: a page of a stranger that runs in a browser there must not reach it, neither by its Origin, nor by a name of the stranger's
 * that leads to this machine (DNS rebinding), for which the browser takes the answers to be the page's own.
 */
export class CallerCheck {
  readonly #allowedOrigins: ReadonlySet<string>;
  readonly #administrationOrigins: ReadonlySet<string>;
  readonly #ownNames: OwnNames;

  constructor({ config }: CallerCheckOptions) {
    this.#ownNames = new OwnNames({ ...config, machine: hostname() });
    this.#allowedOrigins = new Set(config.allowedOrigins);
    this.#administrationOrigins = new Set(config.administrationOrigins);
  }

  /** Why nobody there is answered. */
  refuse({ host, origin }: Caller): Failure | undefined {
    if (host !== undefined) {
      const name = readHostName(host);
      if (name === undefined) return { code: 'invalid_request', message: 'the Host header names no host' };
      if (!this.#ownNames.has(name)) {
        return { code: 'forbidden', message: `${name} is not a name of this server; see allowedHosts` };
      }
    }
    if (origin === '' || isSameOrigin(origin, host) || this.isCrossOriginAllowed(origin)) return undefined;
    return { code: 'forbidden', message: 'pages of this Origin may not call' };
  }

  /** Why this caller may not use what is for operators. */
  refuseAdministration({ host, origin, isLocal }: Caller): Failure | undefined {
    if (!isLocal) return { code: 'forbidden', message: 'administration answers only callers on the loopback address' };
    const origins = this.#administrationOrigins;
    if (origin === '' || isSameOrigin(origin, host) || origins.has('*') || origins.has(origin)) return undefined;
    return { code: 'forbidden', message: 'pages of this Origin may not administer; see administrationOrigins' };
  }

  /** Whether pages of another Origin may read the answers. */
  isCrossOriginAllowed(origin: string): boolean {
    return [this.#allowedOrigins, this.#administrationOrigins].some(
      (origins) => origins.has('*') || origins.has(origin),
    );
  }
}

/** A page that this server itself serves, by a name that has been checked. */
function isSameOrigin(origin: string, host: string | undefined): boolean {
  return host !== undefined && (origin === `http://${host}` || origin === `https://${host}`);
}
