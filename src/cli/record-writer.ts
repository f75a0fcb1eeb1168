import type { ArchiveRecord } from '../archive/records.ts';
import type { TransferReport } from '../archive/transfer-report.ts';
import { serviceKey } from '../protocol/service-key.ts';
import { describeStranger, RegistryCalls } from './administration.ts';
import type { RegistryFailure, RegistryRequest } from './administration.ts';
import { AdministrationError } from './exit-codes.ts';
import type { HttpOptions } from './registry.ts';

/** Requests that are under way at a time: what a registry stores together is one write of its disk. */
const requestsMax = 64;
/** What concerns the record, so that others may well be taken. */
const recordFaults: ReadonlySet<string> = new Set(['invalid_params', 'limit_exceeded', 'invalid_request']);

/** Carries records over to a registry, each by a request of its own which, made again, changes nothing. */
export class RecordWriter {
  readonly #calls: RegistryCalls;
  readonly #report: TransferReport;
  /** By what they are of: of one thing, one at a time, since the last record of it counts. */
  readonly #underWay = new Map<string, Promise<void>>();
  /** Why nothing more can be carried over. */
  #error: unknown;

  constructor(options: HttpOptions, report: TransferReport) {
    this.#calls = new RegistryCalls(options, requestsMax);
    this.#report = report;
  }

  /** Resolves once there is room for more; rejects when the registry takes no more. */
  async write(records: readonly ArchiveRecord[]): Promise<void> {
    for (const record of records) {
      const name = nameRecord(record);
      await this.#underWay.get(name);
      while (this.#underWay.size >= requestsMax) await Promise.race(this.#underWay.values());
      this.#throwIfFailed();
      this.#start(name, record);
    }
  }

  /** Resolves once all has been carried over. */
  async end(): Promise<void> {
    await Promise.all(this.#underWay.values());
    this.#throwIfFailed();
  }

  close(): void {
    this.#calls.close();
  }

  #start(name: string, record: ArchiveRecord): void {
    const done = this.#carryOver(record)
      .catch((error: unknown) => {
        this.#error ??= error;
      })
      .finally(() => {
        this.#underWay.delete(name);
      });
    this.#underWay.set(name, done);
  }

  #throwIfFailed(): void {
    if (this.#error !== undefined) throw this.#error;
  }

  async #carryOver(record: ArchiveRecord): Promise<void> {
    const request = requestFor(record);
    const { status, failure } = await this.#calls.askPatiently(request);
    if (failure !== undefined) this.#refuse(record, failure);
    else if (status !== 200) throw describeStranger(this.#calls.base, status, request);
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
      // Not as the path of a request: proxies do not let all keys through there.
      const { key, value, flags } = record;
      const operations = [{ op: 'put', key, value, flags }];
      return { method: 'POST', path: '/v1/transaction', body: { operations } };
    }
    default:
      return record satisfies never;
  }
}

/** Names have no control characters. */
function nameRecord(record: ArchiveRecord): string {
  switch (record.kind) {
    case 'service':
      return `service\n${serviceKey(record)}`;
    case 'instance':
      return `instance\n${serviceKey(record)}\n${record.instance.id}`;
    case 'key':
      return `key\n${record.key}`;
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
