import type { Health, ServiceName } from '../protocol/types.ts';
import type { RegistrationEntry } from './entries.ts';
import type { CallOptions } from './options.ts';
import { isRegistered } from './registrations.ts';

export interface DeregisterOptions extends CallOptions {
  /** Waits until the server has applied it, even while disconnected; rejects when the time is over. */
  readonly untilApplied?: boolean;
  readonly persistent?: false;
}

/** The outcome of a deregistration. */
export interface Deregistration {
  /**
   * False: the server has applied it, or does not know the instance. True: there is no connection, and it will be carried out on
   * the next one; until then others may see the instance for as long as the server keeps it for this client.
   */
  readonly pending: boolean;
}

/** What {@link Registration} needs of its client. */
export interface RegistrationHost {
  deregister(service: ServiceName, id: string, options: DeregisterOptions): Promise<Deregistration>;
  whenApplied(entry: RegistrationEntry, options: CallOptions): Promise<void>;
  setHealth(entry: RegistrationEntry, health: Health, options: CallOptions): Promise<void>;
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

  /** The service's version in the last acknowledgement; 0 before the first. */
  get version(): number {
    return this.#entry.version;
  }

  /** True until a server has acknowledged its current content. */
  get isPending(): boolean {
    return !isRegistered(this.#entry);
  }

  /** False while subscribers see a later registration of the same instance by another client; the event `claim` reports changes. */
  get isShown(): boolean {
    return this.#entry.isShown;
  }

  /** Resolves when a server has acknowledged it, at once if one has. Rejects like a call, without affecting the registration. */
  whenApplied(options: CallOptions = {}): Promise<void> {
    return this.#host.whenApplied(this.#entry, options);
  }

  /** What the client last reported, or is about to. */
  get health(): Health {
    return this.#entry.wanted?.health ?? 'passing';
  }

  /** Reports how the instance is. Resolves when the server has applied it; it is said again whenever the instance is registered again. */
  setHealth(health: Health, options: CallOptions = {}): Promise<void> {
    return this.#host.setHealth(this.#entry, health, options);
  }

  /** Removes it; like `Client.deregister`. */
  deregister(options: DeregisterOptions = {}): Promise<Deregistration> {
    return this.#host.deregister(this.service, this.id, options);
  }

  /** Removes it, unless that has been done. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#entry.wanted !== undefined) await this.deregister();
  }
}
