import type { ServiceName } from '../protocol/types.ts';
import type { RegistrationEntry } from './entries.ts';
import type { CallOptions } from './options.ts';
import { isRegistered } from './registrations.ts';

export interface DeregisterOptions extends CallOptions {
  /** Waits until the server has applied it, also while there is no connection; when the time is over it rejects. */
  readonly untilApplied?: boolean;
}

/** How far a deregistration has come. */
export interface Deregistration {
  /**
   * False: the server has applied it, or knows nothing of the instance. True: there is no connection, and it will be carried out on
   * the next one; until then others may see the instance, as long as the server keeps it for this client.
   */
  readonly pending: boolean;
}

/** What {@link Registration} needs of its client. */
export interface RegistrationHost {
  deregister(service: ServiceName, id: string, options: DeregisterOptions): Promise<Deregistration>;
  whenApplied(entry: RegistrationEntry, options: CallOptions): Promise<void>;
}

/** An instance that this client keeps registered. */
export class Registration implements AsyncDisposable {
  readonly #entry: RegistrationEntry;
  readonly #host: RegistrationHost;

  constructor(entry: RegistrationEntry, host: RegistrationHost) {
    this.#entry = entry;
    this.#host = host;
  }

  get service(): ServiceName {
    return this.#entry.service;
  }

  get id(): string {
    return this.#entry.id;
  }

  /** The service's version that the last acknowledgement named; 0 before the first. */
  get version(): number {
    return this.#entry.version;
  }

  /** True while no server has acknowledged it as it is wanted now. */
  get isPending(): boolean {
    return !isRegistered(this.#entry);
  }

  /** False while another client has registered the same instance later, so that subscribers see that; the event `claim` tells. */
  get isShown(): boolean {
    return this.#entry.isShown;
  }

  /** Resolves when a server has acknowledged it, at once if it has. Rejects like a call; the registration stands. */
  whenApplied(options: CallOptions = {}): Promise<void> {
    return this.#host.whenApplied(this.#entry, options);
  }

  /** Takes it away; like `Client.deregister`. */
  deregister(options: DeregisterOptions = {}): Promise<Deregistration> {
    return this.#host.deregister(this.service, this.id, options);
  }

  /** Takes it away, unless that has been done. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#entry.wanted !== undefined) await this.deregister();
  }
}
