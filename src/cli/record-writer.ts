import { setTimeout as delay } from 'node:timers/promises';

import type { ImportReport } from '../archive/import-report.ts';
import type { ArchiveRecord } from '../archive/records.ts';
import { describeStranger, RegistryCalls } from './administration.ts';
import type { RegistryFailure, RegistryRequest } from './administration.ts';
import { AdministrationError } from './exit-codes.ts';
import type { HttpOptions } from './registry.ts';

/** Requests that are under way at a time: what a registry stores together is one write of its disk. */
const requestsMax = 64;
/** How long a registry that says `busy` is asked again, in milliseconds. */
const busyMaxMs = 60_000;
const busyDelayMs = 100;
/** What concerns the record, so that others may well be taken. */
const recordFaults: ReadonlySet<string> = new Set(['invalid_params', 'limit_exceeded', 'invalid_request']);

/** Carries records over to a registry, each by a request of its own which, made again, changes nothing. */
export class RecordWriter {
  readonly #calls: RegistryCalls;
  readonly #report: ImportReport;
  readonly #underWay = new Set<Promise<void>>();
  /** Why nothing more can be carried over. */
  #error: unknown;

  constructor(options: HttpOptions, report: ImportReport) {
    this.#calls = new RegistryCalls(options, requestsMax);
    this.#report = report;
  }

  /** Resolves once there is room for more; rejects when the registry takes no more. */
  async write(records: readonly ArchiveRecord[]): Promise<void> {
    for (const record of records) {
      while (this.#underWay.size >= requestsMax) await Promise.race(this.#underWay);
      this.#throwIfFailed();
      this.#start(record);
    }
  }

  /** Resolves once all has been carried over. */
  async end(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
    this.#throwIfFailed();
  }

  close(): void {
    this.#calls.close();
  }

  #start(record: ArchiveRecord): void {
    const done: Promise<void> = this.#carryOver(record)
      .catch((error: unknown) => {
        this.#error ??= error;
      })
      .finally(() => {
        this.#underWay.delete(done);
      });
    this.#underWay.add(done);
  }

  #throwIfFailed(): void {
    if (this.#error !== undefined) throw this.#error;
  }

  async #carryOver(record: ArchiveRecord): Promise<void> {
    const request = requestFor(record);
    const untilMs = performance.now() + busyMaxMs;
    for (;;) {
      const { status, failure } = await this.#calls.ask(request);
      if (failure === undefined) {
        if (status !== 200) throw describeStranger(this.#calls.base, status, request);
        return;
      }
      const isBusy = failure.code === 'busy' && performance.now() < untilMs;
      if (!isBusy) {
        this.#refuse(record, failure);
        return;
      }
      await delay(failure.retryAfterMs ?? busyDelayMs);
    }
  }

  #refuse(record: ArchiveRecord, { code, message }: RegistryFailure): void {
    const what = describeRecord(record);
    if (!recordFaults.has(code)) throw new AdministrationError(`${what}: ${code}: ${message}`);
    this.#report.noteRefused(record.kind, `the registry refused it: ${code}`, `${what}: ${message}`);
  }
}

function requestFor(record: ArchiveRecord): RegistryRequest {
  switch (record.kind) {
    case 'service': {
      const { namespace, group, service, settings } = record;
      const body = { namespace, group, ...settings };
      return { method: 'PUT', path: `/v1/services/${encodeURIComponent(service)}`, body };
    }
    case 'instance': {
      const { namespace, group, service, instance } = record;
      return { method: 'PUT', path: '/v1/instances', body: { namespace, group, service, instance, persistent: true } };
    }
    case 'key': {
      const { key, value, flags } = record;
      return { method: 'PUT', path: `/v1/keys/${encodeURIComponent(key)}`, body: { value, flags } };
    }
    default:
      return record satisfies never;
  }
}

function describeRecord(record: ArchiveRecord): string {
  switch (record.kind) {
    case 'service':
      return `service ${record.service}`;
    case 'instance':
      return `instance ${record.instance.id} of ${record.service}`;
    case 'key':
      return `key ${record.key}`;
    default:
      return record satisfies never;
  }
}
