import type { WatchedService } from '../push/watched-service.ts';
import { ChangeLog } from '../slots/change-log.ts';
import type { ServiceRecord } from '../slots/service-record.ts';
import type { ServiceStore } from '../slots/service-store.ts';
import type { ServiceParcel } from './messages.ts';

/** Everything that an owner knows of a service, as plain fields. What was to be pushed has been. */
export function packService(service: ServiceRecord, watched: WatchedService | undefined): ServiceParcel {
  const instances: (string | number)[] = [];
  for (const [id, { fragment, owner, stamp }] of service.instances) instances.push(id, fragment, owner, stamp);
  for (const [id, { fragment, owner, stamp }] of service.instances.hidden ?? [])
    instances.push(id, fragment, owner, stamp);
  const { key, version, log } = service;
  return {
    key,
    version,
    instances,
    log: log === undefined ? undefined : { base: log.base, entries: log.entries() },
    watch:
      watched &&
      [...watched.variants()].map(({ variant, pushedVersion, hosts }) => ({
        variant: variant.text,
        pushedVersion,
        hosts,
      })),
  };
}

/** The watch of a service that came in a parcel; undefined if nobody watches it. `create`: makes it, with nobody who watches yet. */
export function unpackWatch({ watch }: ServiceParcel, create: () => WatchedService): WatchedService | undefined {
  if (watch === undefined) return undefined;
  const watched = create();
  for (const { variant, pushedVersion, hosts } of watch) {
    for (const host of hosts) watched.addInterest(host, variant).pushedVersion = pushedVersion;
  }
  return watched;
}

/** Makes the record in the receiver's store; it is attached later. */
export function unpackService(parcel: ServiceParcel, changeLogEntriesMax: number, store: ServiceStore): ServiceRecord {
  const service = store.create(parcel.key, parcel.version);
  const fields = parcel.instances;
  for (let i = 0; i < fields.length; i += 4) {
    const instance = { fragment: String(fields[i + 1]), owner: Number(fields[i + 2]), stamp: Number(fields[i + 3]) };
    store.restore(service, String(fields[i]), instance);
  }
  if (parcel.log !== undefined) {
    service.adoptLog(ChangeLog.restore(parcel.log.base, parcel.log.entries, changeLogEntriesMax));
  }
  return service;
}
