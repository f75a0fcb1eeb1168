import { protocolLimits } from '../protocol/limits.ts';
import type { DumpTarget } from './dump-reader.ts';
import { JsonDumpReader } from './json-dump-reader.ts';
import type { JsonElement } from './json-elements.ts';
import { describePlace, readDigits, readFields, readItems, readNumber, readText, readTexts } from './json-fields.ts';
import type { Fields } from './json-fields.ts';

/** What a weight of 1 becomes, so that the default is the default. */
const weightFactor = protocolLimits.weightDefault;

/** One instance, whichever answer it came from. */
interface ConsulService {
  readonly name: string;
  readonly id: string;
  readonly kind: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly tags: readonly string[];
  readonly meta: unknown;
  readonly weights: Fields;
  readonly locality: Fields;
  readonly status: 'passing' | 'warning' | 'critical';
}

/**
 * Reads what Consul says: `consul kv export`, `/v1/kv/…?recurse`, `/v1/catalog/service/…`, `/v1/health/service/…` and `/v1/agent/services`, in any order, one answer after
 * the other.
 */
export class ConsulDumpReader extends JsonDumpReader {
  constructor(target: DumpTarget) {
    super(target, ['$.*']);
  }

  protected override readElement(element: JsonElement): void {
    const fields = readFields(element.value) ?? {};
    const service = readService(fields);
    if (service !== undefined) this.#addService(service);
    else if (readText(fields['key'] ?? fields['Key']) !== undefined) this.#addKey(fields);
    else if (Array.isArray(element.value) && typeof element.key === 'string')
      this.intake.leaveOut(
        'a name without its instances, as /v1/catalog/services has it: dump /v1/health/service/NAME of each',
        element.key,
      );
    else this.intake.leaveOut('neither a key nor an instance of a service', describePlace(element));
  }

  #addKey(fields: Fields): void {
    const key = readText(fields['key'] ?? fields['Key']) ?? '';
    const value = fields['value'] ?? fields['Value'] ?? '';
    const flags = readDigits(fields['flags'] ?? fields['Flags'] ?? 0);
    if (typeof value !== 'string' || flags === undefined) {
      this.intake.leaveOut('a key whose value is no text, or whose flags are no whole number', key);
      return;
    }
    if (fields['Session'] !== undefined) this.intake.noteAltered('the key is taken, but not the lock on it', key);
    this.intake.addKey(key, value, flags);
  }

  #addService(service: ConsulService): void {
    const { name, id, kind, host, port, tags, meta, weights, locality, status } = service;
    const what = `${name} ${id}`;
    if (name === 'consul') {
      this.intake.leaveOut('a server of Consul itself', what);
      return;
    }
    if (kind !== undefined) {
      this.intake.leaveOut('a proxy or gateway of the service mesh', what);
      return;
    }
    const metadata = readTexts(meta);
    if (tags.length > 0) {
      if ('tags' in metadata)
        this.intake.noteAltered('its metadata already has `tags`, so its tags are not taken', what);
      else metadata['tags'] = tags.join(',');
    }
    if (status === 'critical') this.intake.noteAltered('disabled: a check of it is critical', what);
    const zone = readText(locality['Zone']);
    this.intake.addInstance(
      { service: name },
      {
        host,
        port,
        weight: this.#readWeight(weights, status, what),
        enabled: status !== 'critical',
        metadata,
        ...(zone === undefined ? {} : { zone }),
      },
      what,
    );
  }

  #readWeight(weights: Fields, status: ConsulService['status'], what: string): number {
    const weight = (readNumber(weights[status === 'warning' ? 'Warning' : 'Passing']) ?? 1) * weightFactor;
    if (weight <= protocolLimits.weightMax) return weight;
    this.intake.noteAltered(`the weight is more than ${protocolLimits.weightMax}, which it is now`, what);
    return protocolLimits.weightMax;
  }
}

function readService(fields: Fields): ConsulService | undefined {
  const flatName = readText(fields['ServiceName']);
  // A check has the name of its service, too.
  if (flatName !== undefined && fields['CheckID'] === undefined) {
    return {
      name: flatName,
      id: readText(fields['ServiceID']) ?? flatName,
      kind: readText(fields['ServiceKind']),
      host: readText(fields['ServiceAddress']) ?? readText(fields['Address']) ?? '',
      port: readNumber(fields['ServicePort']) ?? 0,
      tags: readTags(fields['ServiceTags']),
      meta: fields['ServiceMeta'],
      weights: readFields(fields['ServiceWeights']) ?? {},
      locality: readFields(fields['ServiceLocality']) ?? {},
      status: 'passing',
    };
  }
  // Of /v1/health it is a field beside its node and its checks; of /v1/agent it is the row.
  const nested = readFields(fields['Service']);
  const service = nested ?? fields;
  const name = readText(service['Service']);
  if (name === undefined) return undefined;
  return {
    name,
    id: readText(service['ID']) ?? name,
    kind: readText(service['Kind']),
    host: readText(service['Address']) ?? readText(readFields(fields['Node'])?.['Address']) ?? '',
    port: readNumber(service['Port']) ?? 0,
    tags: readTags(service['Tags']),
    meta: service['Meta'],
    weights: readFields(service['Weights']) ?? {},
    locality: readFields(service['Locality']) ?? {},
    status: readStatus(fields['Checks']),
  };
}

function readTags(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((tag): tag is string => typeof tag === 'string') : [];
}

/** The worst of its checks. */
function readStatus(checks: unknown): ConsulService['status'] {
  const found = new Set(readItems(checks).map((check) => readFields(check)?.['Status']));
  if (found.has('critical') || found.has('maintenance')) return 'critical';
  return found.has('warning') ? 'warning' : 'passing';
}
