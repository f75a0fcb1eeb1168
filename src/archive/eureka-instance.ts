import { readBoolean, readFields, readNumber, readText, readTexts } from './json-fields.ts';
import type { Fields } from './json-fields.ts';
import type { RecordIntake } from './record-intake.ts';

/** One instance as Eureka shows it, be it in JSON or read from XML into the same fields. */
export function addEurekaInstance(intake: RecordIntake, fields: Fields): void {
  const app = readText(fields['app']);
  // What Spring's clients ask for; a list of names in the clients of Netflix.
  const service = readText(fields['vipAddress'])?.split(',')[0]?.trim() ?? app?.toLowerCase();
  const host = readText(fields['hostName']) ?? readText(fields['ipAddr']);
  const what = `${app ?? 'instance'} ${readText(fields['instanceId']) ?? host ?? ''}`.trim();
  if (service === undefined || host === undefined) {
    intake.leaveOut('an instance without a name or a host', what);
    return;
  }
  const status = readText(fields['status']) ?? 'UP';
  if (status !== 'UP')
    intake.noteAltered(`disabled: its status is ${/^[A-Z_]{1,32}$/.test(status) ? status : 'unknown'}`, what);
  const { '@class': _, ...metadata } = readTexts(fields['metadata']);
  const zone = readText(metadata['zone']) ?? readZoneOfAmazon(fields['dataCenterInfo']);
  const plain = readPort(fields['port']);
  const secure = readPort(fields['securePort']);
  const port = plain ?? secure ?? 0;
  // Whoever wants it encrypted needs to know where.
  if (secure !== undefined && metadata['securePort'] === undefined) metadata['securePort'] = String(secure);
  intake.addInstance(
    { service },
    { host, port, enabled: status === 'UP', metadata, ...(zone === undefined ? {} : { zone }) },
    what,
  );
}

/** A number, or one with a mark whether it is in use; undefined: it is not. */
function readPort(value: unknown): number | undefined {
  const fields = readFields(value);
  if (fields === undefined) return readNumber(value);
  return readBoolean(fields['@enabled']) === false ? undefined : readNumber(fields['$']);
}

function readZoneOfAmazon(dataCenter: unknown): string | undefined {
  return readText(readFields(readFields(dataCenter)?.['metadata'])?.['availability-zone']);
}
