/** What an archive has, in the order in which it is exported. */
export const recordKinds = ['service', 'instance', 'key'] as const;

export type RecordKind = (typeof recordKinds)[number];
