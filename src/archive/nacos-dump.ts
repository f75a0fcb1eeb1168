import { protocolLimits } from '../protocol/limits.ts';
import type { ServiceSettings } from '../protocol/service-declaration.ts';
import { defaultGroup, defaultNamespace } from '../protocol/service-key.ts';
import type { ServiceName } from '../protocol/types.ts';
import type { DumpTarget } from './dump-reader.ts';
import { JsonDumpReader } from './json-dump-reader.ts';
import type { JsonElement } from './json-elements.ts';
import { describePlace, readBoolean, readFields, readItems, readNumber, readText, readTexts } from './json-fields.ts';
import type { Fields } from './json-fields.ts';

/** What Nacos calls by default what is called otherwise here. */
const nacosGroup = 'DEFAULT_GROUP';
const nacosCluster = 'DEFAULT';
/** What a weight of 1 becomes, so that the default is the default. */
const weightFactor = protocolLimits.weightDefault;
/** Answers lie in one another: envelope, page, list, service, clusters. */
const nestingMax = 8;

/**
 * Reads what Nacos says of services, one answer after the other: `/v1/ns/instance/list`, `/v1/ns/catalog/services?withInstances=true`, `/v1/ns/catalog/instances`,
 * `/v1/ns/catalog/service`, `/v1/ns/service`, and the answers of v2 and v3, which are the same in an envelope.
 */
export class NacosDumpReader extends JsonDumpReader {
  constructor(target: DumpTarget) {
    super(target, ['$']);
  }

  protected override readElement(element: JsonElement): void {
    this.#readAnswer(element.value, describePlace(element), nestingMax);
  }

  #readAnswer(value: unknown, place: string, nestingLeft: number): void {
    if (nestingLeft === 0) {
      this.intake.leaveOut('answers lie in one another too deep', place);
      return;
    }
    if (Array.isArray(value)) {
      for (const each of value) this.#readAnswer(each, place, nestingLeft - 1);
      return;
    }
    const fields = readFields(value) ?? {};
    // The envelope of v2 and v3, and pages of any version.
    const inner = fields['data'] ?? fields['pageItems'] ?? fields['list'] ?? fields['serviceList'];
    if (typeof inner === 'object' && inner !== null) this.#readAnswer(inner, place, nestingLeft - 1);
    else if (readText(fields['ip']) !== undefined) this.#addInstance(fields, undefined);
    else this.#readService(fields, place);
  }

  #readService(fields: Fields, place: string): void {
    // The answer of the console has the service in a field of its own.
    const service = readFields(fields['service']) ?? fields;
    const name = readServiceName(service);
    if (name === undefined) {
      this.intake.leaveOut('neither a service nor an instance', place);
      return;
    }
    const hosts = readHosts(fields);
    const settings = readSettings(service);
    const isSummary = hosts === undefined && service['protectThreshold'] === undefined;
    if (isSummary)
      this.intake.leaveOut(
        'a name without its instances: dump /v1/ns/instance/list of each, or the catalog with withInstances=true',
        name.service,
      );
    if (Object.keys(settings).length > 0) this.intake.addService(name, settings, name.service);
    for (const host of hosts ?? []) this.#addInstance(readFields(host) ?? {}, name);
  }

  #addInstance(fields: Fields, service: ServiceName | undefined): void {
    const host = readText(fields['ip']) ?? '';
    const port = readNumber(fields['port']) ?? 0;
    const name = service ?? readServiceName(fields) ?? readNameOfId(fields['instanceId']);
    const what = `${name?.service ?? 'instance'} ${host}:${port}`;
    if (name === undefined) {
      this.intake.leaveOut('an instance of which nothing says of what service it is', what);
      return;
    }
    if (readBoolean(fields['healthy']) === false)
      this.intake.noteAltered('unhealthy there; here nothing says so until it is checked', what);
    const cluster = readText(fields['clusterName']);
    this.intake.addInstance(
      name,
      {
        host,
        port,
        weight: this.#readWeight(fields['weight'], what),
        enabled: readBoolean(fields['enabled']) ?? true,
        metadata: readTexts(fields['metadata']),
        ...(cluster === undefined || cluster === nacosCluster ? {} : { zone: cluster }),
      },
      what,
    );
  }

  #readWeight(value: unknown, what: string): number {
    const weight = Math.round((readNumber(value) ?? 1) * weightFactor);
    if (weight <= protocolLimits.weightMax) return weight;
    this.intake.noteAltered(`the weight is more than ${protocolLimits.weightMax}, which it is now`, what);
    return protocolLimits.weightMax;
  }
}

/** `GROUP@@name`, or the two apart. */
function readServiceName(fields: Fields): ServiceName | undefined {
  const text = readText(fields['serviceName']) ?? readText(fields['name']);
  if (text === undefined) return undefined;
  const at = text.indexOf('@@');
  const group = at > 0 ? text.slice(0, at) : (readText(fields['groupName']) ?? nacosGroup);
  const namespace = readText(fields['namespaceId']) ?? readText(fields['namespace']) ?? defaultNamespace;
  return { namespace, group: group === nacosGroup ? defaultGroup : group, service: at > 0 ? text.slice(at + 2) : text };
}

/** `ip#port#cluster#GROUP@@name`. */
function readNameOfId(id: unknown): ServiceName | undefined {
  const name = readText(id)?.split('#').at(-1);
  return name?.includes('@@') ? readServiceName({ name }) : undefined;
}

/** A list, or lists by cluster; undefined: it does not say. */
function readHosts(fields: Fields): readonly unknown[] | undefined {
  if (Array.isArray(fields['hosts'])) return fields['hosts'];
  const clusters = readFields(fields['clusterMap']);
  if (clusters === undefined) return undefined;
  const lists = Object.entries(clusters).map(([name, cluster]) =>
    readItems(readFields(cluster)?.['hosts']).map((host) => ({ clusterName: name, ...readFields(host) })),
  );
  return lists.flat();
}

function readSettings(service: Fields): ServiceSettings {
  const protectionThreshold = readNumber(service['protectThreshold']) ?? 0;
  const metadata = readTexts(service['metadata']);
  return {
    // Nacos counts unhealthy instances by the same number.
    ...(protectionThreshold > 0 ? { protectionThreshold, healthThreshold: protectionThreshold } : {}),
    ...(Object.keys(metadata).length > 0 ? { metadata } : {}),
  };
}
